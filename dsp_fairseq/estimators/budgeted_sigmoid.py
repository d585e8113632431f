"""Budgeted sigmoid: gates in [0, 1] that sum to K or cost C, in time that does not grow with K.

Source: Amos, Koltun and Kolter (2019), *The Limited Multi-Label Projection Layer*, arXiv
1906.08707; a temperature is added here. Its sparse sibling is ``budget_bisect`` of
the entmax package.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from .costs import CostBudget, border_of, rank_by_density
from .estimator import Estimator
from .topk import constant_gates

_STEPS = 100
_SATURATED = 40.0


class _BudgetedSigmoid(torch.autograd.Function):
    """``sigmoid((r - nu c) / t)`` with nu such that the gates cost C; needs ``0 < C < sum c``.

    Tensors for backward are kept on ``ctx``, since activation checkpointing walks back through
    this node more than once.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, costs: Tensor | None, limit: float, temperature: float
    ) -> Tensor:
        r = logits.detach().to(torch.float64)
        # Measured from the border, so that nothing is lost where r / t is huge.
        if costs is None:  # all are 1, and the border is behind the K-th
            above, below = r.topk(int(limit) + 1).values[-2:]
            border, gap = (above + below) / 2, float(above - below) / 2
            a = (r - border) / temperature
        else:
            border, gap = border_of(*rank_by_density(r, costs, limit), limit)
            a = costs * (r / costs - border) / temperature
        gates = torch.sigmoid(_less(a, costs, _threshold(a, costs, limit, gap / temperature)))
        ctx.gates, ctx.temperature = gates, temperature
        ctx.costs = torch.ones_like(gates) if costs is None else costs
        return gates.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        grad = grads[0].to(torch.float64)
        slope = ctx.gates * (1.0 - ctx.gates)
        priced = ctx.costs * slope
        total = (ctx.costs * priced).sum().clamp_min(torch.finfo(torch.float64).tiny)
        centred = grad - ctx.costs * (torch.dot(grad, priced) / total)
        return (slope * centred / ctx.temperature).to(grads[0].dtype), None, None, None


def _less(a: Tensor, costs: Tensor | None, nu: float) -> Tensor:
    return a - nu if costs is None else torch.sub(a, costs, alpha=nu)


def _threshold(a: Tensor, costs: Tensor | None, limit: float, gap: float) -> float:
    """The nu at which ``sigmoid(a - nu c)`` costs C: Newton, kept within a bracket.

    Args:
        a: logits over temperature ``[N]``, such that the gates change over at ``a = 0``.
        costs: c ``[N]``, of mean 1; None where all are 1.
        limit: C.
        gap: how far ``a / c`` is from 0 there, at most.
    """
    total, least = a.numel(), 1.0
    cost_of: Callable[[Tensor], Tensor] = torch.sum
    slope_of: Callable[[Tensor], Tensor] = torch.sum
    if costs is not None:
        least, cost_of, slope_of = float(costs.min()), costs.dot, (costs * costs).dot
    rest = math.log(2 * total / min(least, limit, total - limit))
    high = min(gap, _SATURATED / least) + rest / least
    low, nu = -high, 0.0
    for _ in range(_STEPS):
        gates = torch.sigmoid(_less(a, costs, nu))
        excess = float(cost_of(gates)) - limit
        if abs(excess) < 1e-12 * limit:
            break
        if excess > 0:
            low = nu
        else:
            high = nu
        slope = float(slope_of(gates * (1.0 - gates)))
        step = nu + excess / slope if slope > 0 else math.inf
        nu = step if low < step < high else (low + high) / 2
    return nu


def budgeted_sigmoid(logits: Tensor, k: int, temperature: float) -> Tensor:
    """Soft top-K by a threshold: ``g = sigmoid((logits - nu) / t)``, nu solved for ``sum g = K``.

    It solves ``max <g, logits> + t * H(g)`` over ``0 <= g <= 1, sum g = K`` with the binary entropy
    ``H``; nu is the multiplier of the budget. Invariants: each gate is in [0, 1], and they sum to
    K. The gradient is that of the solution (implicit function theorem),
    ``dg_i/dr_j = s_i (delta_ij - s_j / sum s) / t`` with ``s = g (1 - g)``: at most ``1 / (4 t)``,
    whatever K is. As t -> 0 the gates tend to the hard top-K.

    Args:
        logits: ``[N]``, finite; importance plus noise.
        k: budget; K = 0 and K = N give constants without gradient.
        temperature: t > 0.

    Returns:
        gates ``[N]`` in the dtype of ``logits``, computed in float64.

    Raises:
        ValueError: K is outside ``0..N`` or the temperature is not positive.
    """
    constant = constant_gates(logits, k, temperature)
    return _BudgetedSigmoid.apply(logits, None, k, temperature) if constant is None else constant


def priced_sigmoid(logits: Tensor, budget: CostBudget, temperature: float) -> Tensor:
    """As :func:`budgeted_sigmoid`, of heads that have prices c, with a budget C for their cost.

    ``g = sigmoid((logits - nu c) / t)``, nu solved for ``sum c g = C``. It solves
    ``max <g, logits> + t * H(g)`` over ``0 <= g <= 1, sum c g = C``. The gradient is that of the
    solution, ``dg_i/dr_j = s_i (delta_ij - c_i c_j s_j / sum c^2 s) / t``. As t -> 0 heads open by
    importance per cost, as in :func:`~.budget.kept_mask`, and the one at the border in part. With
    equal prices it is :func:`budgeted_sigmoid`. Prices are taken relative to their mean, so that
    their unit does not matter.

    Args:
        logits: ``[N]``, finite.
        budget: the prices and C, ``0 <= C <= sum c``; at both ends gates are constants.
        temperature: t > 0.

    Returns:
        gates ``[N]`` in the dtype of ``logits``, computed in float64.

    Raises:
        ValueError: C is outside or the temperature is not positive.
    """
    if not 0 <= budget.limit <= budget.total:
        raise ValueError(f"budget {float(budget.limit):g} is outside 0..{float(budget.total):g}")
    if budget.limit in (0, budget.total):
        n = logits.numel()
        return cast(Tensor, constant_gates(logits, n if budget.limit else 0, temperature))
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not positive")
    costs = budget.units.to(logits.device)
    return _BudgetedSigmoid.apply(logits, costs, budget.limit_in_units, temperature)


class BudgetedSigmoid(Estimator):
    """Module twin of :func:`budgeted_sigmoid`, over importance perturbed by Gumbel noise.

    With Gumbel noise the largest K perturbed logits are the same sample without replacement that
    the relaxed Gumbel top-K relaxes; only the relaxation differs. Unlike there, the default
    temperatures keep a gradient alive until the freeze, and the noise falls to zero: what is
    trained in the end is what is deployed.
    """

    temperatures = (1.0, 0.1)
    noise_scales = (1.0, 0.0)
    takes_costs = True

    def forward(
        self, importance: Tensor, k: int | CostBudget, temperature: float, noise: Tensor
    ) -> Tensor:
        """Gates ``[N]`` in float64, each in [0, 1]; they sum to K, or cost C."""
        logits = importance.to(torch.float64) + noise
        if isinstance(k, CostBudget):
            return priced_sigmoid(logits, k, temperature)
        return budgeted_sigmoid(logits, k, temperature)
