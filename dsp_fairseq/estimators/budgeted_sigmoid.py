"""Budgeted sigmoid: gates in [0, 1] that sum to K, at a cost that does not grow with K.

Source: Amos, Koltun and Kolter (2019), *The Limited Multi-Label Projection Layer*, arXiv
1906.08707; a temperature is added here. Its sparse sibling is ``budget_bisect`` of
the entmax package.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .estimator import Estimator
from .topk import constant_gates

_STEPS = 100
_SATURATED = 40.0


class _BudgetedSigmoid(torch.autograd.Function):
    """``sigmoid((r - nu) / t)`` with nu such that the gates sum to K; needs ``0 < K < N``.

    Tensors for backward are kept on ``ctx``, since activation checkpointing walks back through
    this node more than once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int, temperature: float) -> Tensor:
        r = logits.detach().to(torch.float64)
        ranked = r.topk(k + 1).values
        # Measured from the middle of the border, so that nothing is lost where r / t is huge.
        a = (r - (ranked[k - 1] + ranked[k]) / 2) / temperature
        gates = torch.sigmoid(a - _threshold(a, k, float(ranked[k - 1] - ranked[k]) / temperature))
        ctx.gates, ctx.temperature = gates, temperature
        return gates.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0].to(torch.float64)
        slope = ctx.gates * (1.0 - ctx.gates)
        total = slope.sum().clamp_min(torch.finfo(torch.float64).tiny)
        centred = grad - torch.dot(grad, slope) / total
        return (slope * centred / ctx.temperature).to(grads[0].dtype), None, None


def _threshold(a: Tensor, k: int, gap: float) -> float:
    """The nu at which the sigmoids of ``a - nu`` sum to K: Newton, kept within a bracket.

    Args:
        a: logits over temperature ``[N]``; the K-th largest is ``gap / 2``, the next ``-gap / 2``.
        k: budget.
        gap: how far they are apart.
    """
    high = min(gap / 2, _SATURATED) + math.log(2 * a.numel())
    low, nu = -high, 0.0
    for _ in range(_STEPS):
        gates = torch.sigmoid(a - nu)
        excess = float(gates.sum()) - k
        if abs(excess) < 1e-12 * k:
            break
        if excess > 0:
            low = nu
        else:
            high = nu
        slope = float((gates * (1.0 - gates)).sum())
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
    return _BudgetedSigmoid.apply(logits, k, temperature) if constant is None else constant


class BudgetedSigmoid(Estimator):
    """Module twin of :func:`budgeted_sigmoid`, over importance perturbed by Gumbel noise.

    With Gumbel noise the largest K perturbed logits are the same sample without replacement that
    the relaxed Gumbel top-K relaxes; only the relaxation differs. Unlike there, the default
    temperatures keep a gradient alive until the freeze, and the noise falls to zero: what is
    trained in the end is what is deployed.
    """

    temperatures = (1.0, 0.1)
    noise_scales = (1.0, 0.0)

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]`` in float64, each in [0, 1]; they sum to K."""
        return budgeted_sigmoid(importance.to(torch.float64) + noise, k, temperature)
