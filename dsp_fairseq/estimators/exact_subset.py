"""SIMPLE: exact samples of K of N, with the gradient of the exact marginals.

Source: Ahmed, Zeng, Niepert and Van den Broeck (ICLR 2023), *SIMPLE: A Gradient Estimator for
k-Subset Sampling*. Sampling and marginals are those of the conditional Bernoulli distribution, by
the recurrence of elementary symmetric polynomials in the log domain, ``O(N K)``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .estimator import Estimator
from .noise import uniform_from_gumbel
from .topk import constant_gates

_CERTAIN = 100.0
"""Logits this far above or below the border decide a head beyond float64."""


class _Subset(torch.autograd.Function):
    """A sample of K of N (or, without uniforms, the marginals); needs ``0 < K < N``.

    The gradient is that of the marginals in both cases. ``table[n, 0, j]`` is the log of the sum
    over all ways to choose j of the first n heads, ``table[n, 1, j]`` the same of the last n.

    Tensors for backward are kept on ``ctx``, since activation checkpointing walks back through
    this node more than once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int, uniform: Tensor | None) -> Tensor:
        theta = _centred(logits.detach().to("cpu", torch.float64), k)
        ctx.theta, ctx.table = theta, _count(theta, k)
        ctx.given, ctx.marginals = _marginals(theta, ctx.table)
        gates = ctx.marginals if uniform is None else _sample(theta, ctx.table, uniform)
        return gates.to(logits.device, logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0].to("cpu", torch.float64)
        # cov(i, g) = P(i) (E[g | i is chosen] - E[g]), where g stands for the sum of its chosen.
        sums = _expected_sums(ctx.theta, ctx.table, grad)
        first, last = sums[:-1, 0, :-1], sums[:-1, 1, :-1].flip(0, 1)
        given_chosen = grad + (ctx.given * (first + last)).sum(1)
        adjoint = ctx.marginals * (given_chosen - sums[-1, 0, -1])
        return adjoint.to(grads[0].device, grads[0].dtype), None, None


def _centred(logits: Tensor, k: int) -> Tensor:
    """Logits relative to the middle of the border between the K-th and the next.

    Only differences count; beyond :data:`_CERTAIN` a head is in or out whatever its logit.
    """
    ranked = logits.topk(k + 1).values
    return (logits - (ranked[k - 1] + ranked[k]) / 2).clamp(-_CERTAIN, _CERTAIN)


def _both_ways(x: Tensor) -> Tensor:
    return torch.stack([x, x.flip(0)])


def _count(theta: Tensor, k: int) -> Tensor:
    """The table ``[N+1, 2, K+1]`` of log elementary symmetric polynomials, from both ends."""
    n = theta.numel()
    table = theta.new_full((n + 1, 2, k + 1), -torch.inf)
    table[:, :, 0] = 0.0
    taken = theta.new_empty(2, k)
    for step, (value, row, before) in enumerate(
        zip(
            _both_ways(theta).unsqueeze(-1).unbind(1),
            table[1:].unbind(0),
            table.unbind(0),
            strict=False,
        )
    ):
        most = min(step + 1, k)
        torch.add(before[:, :most], value, out=taken[:, :most])
        torch.logaddexp(before[:, 1 : most + 1], taken[:, :most], out=row[:, 1 : most + 1])
    return table


def _marginals(theta: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """P(j of the heads before i | i is chosen) ``[N, K]``, and P(i is chosen) ``[N]``."""
    others = table[:-1, 0, :-1] + table[:-1, 1, :-1].flip(0, 1)
    ways = others.logsumexp(1)
    return torch.exp(others - ways.unsqueeze(1)), torch.exp(theta + ways - table[-1, 0, -1])


def _sample(theta: Tensor, table: Tensor, uniform: Tensor) -> Tensor:
    """Walks from the last head to the first: each is in or out given what is still to choose."""
    include = torch.exp(theta.unsqueeze(1) + table[:-1, 0, :-1] - table[1:, 0, 1:]).numpy()
    draws = uniform.to("cpu").tolist()
    gates = torch.zeros_like(theta)
    left = include.shape[1]
    for head in range(theta.numel() - 1, -1, -1):
        # The last one of the remaining has probability 1, which rounding must not decide.
        if left and (left == head + 1 or draws[head] < include[head, left - 1]):
            gates[head] = 1.0
            left -= 1
    return gates


def _expected_sums(theta: Tensor, table: Tensor, values: Tensor) -> Tensor:
    """E[sum of the values of the chosen | j of the first (last) n are chosen] ``[N+1, 2, K+1]``."""
    stay = torch.exp(table[:-1, :, 1:] - table[1:, :, 1:]).nan_to_num(0.0)
    sums = torch.zeros_like(table)
    taken = theta.new_empty(2, table.size(2) - 1)
    for value, share, row, before in zip(
        _both_ways(values).unsqueeze(-1).unbind(1),
        stay.unbind(0),
        sums[1:].unbind(0),
        sums.unbind(0),
        strict=False,
    ):
        torch.add(before[:, :-1], value, out=taken)
        torch.lerp(taken, before[:, 1:], share, out=row[:, 1:])
    return sums


def subset_marginals(logits: Tensor, k: int) -> Tensor:
    """P(i is chosen) when subsets S of size K have probability proportional to exp(sum logits[S]).

    It solves ``max <g, logits> + H(g)`` over distributions of subsets of size K, of which the
    marginals are returned. Invariants: each is in [0, 1], and they sum to K.

    Args:
        logits: ``[N]``, finite.
        k: budget; K = 0 and K = N give constants without gradient.

    Returns:
        marginals ``[N]`` in the dtype of ``logits``, computed in float64.

    Raises:
        ValueError: K is outside ``0..N``.
    """
    constant = constant_gates(logits, k)
    return _Subset.apply(logits, k, None) if constant is None else constant


def sample_subset(logits: Tensor, k: int, uniform: Tensor) -> Tensor:
    """An exact sample of K of N, whose gradient is that of :func:`subset_marginals`.

    Invariant: exactly K ones, the others zero.

    Args:
        logits: ``[N]``, finite.
        k: budget; K = 0 and K = N give constants without gradient.
        uniform: one number of (0, 1) per head ``[N]``.

    Returns:
        gates ``[N]``, 0 or 1, in the dtype of ``logits``.

    Raises:
        ValueError: K is outside ``0..N``.
    """
    constant = constant_gates(logits, k)
    return _Subset.apply(logits, k, uniform) if constant is None else constant


class ExactSubset(Estimator):
    """Module twin of :func:`sample_subset`, over ``importance / t``.

    As the temperature falls, samples concentrate on the top K, so that what is trained tends to
    what is deployed. It is computed on the CPU, where its many small steps are fastest; on a GPU,
    N numbers go there and back once a forward pass.
    """

    temperatures = (1.0, 0.01)

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]`` in float64: 0 or 1, exactly K ones."""
        logits = importance.to(torch.float64) / temperature
        return sample_subset(logits, k, uniform_from_gumbel(noise))
