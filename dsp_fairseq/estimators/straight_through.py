"""Straight-through top-K: hard gates forward, identity backward.

Source: Li, Cotterell and Sachan (TACL 2021), the STE variant; Bengio, Léonard and Courville (2013),
*Estimating or Propagating Gradients Through Stochastic Neurons*.
"""

from __future__ import annotations

from torch import Tensor

from .estimator import Estimator
from .topk import constant_gates, top_k_mask


def straight_through_top_k(logits: Tensor, k: int) -> Tensor:
    """The hard top-K indicator, whose gradient is passed on to the logits unchanged.

    Forward it solves ``max <g, logits>`` over 0/1 vectors with ``sum g = K``; backward it pretends
    that ``g = logits``. Invariant: exactly K ones, ties to the lower index. Deterministic: no noise
    takes part, so only heads whose gradient differs from that of others change places.

    Args:
        logits: importance ``[N]``, finite.
        k: budget; K = 0 and K = N give constants without gradient.

    Returns:
        gates ``[N]`` in the dtype of ``logits``.

    Raises:
        ValueError: K is outside ``0..N``.
    """
    constant = constant_gates(logits, k)
    if constant is not None:
        return constant
    return top_k_mask(logits, k).to(logits.dtype) + (logits - logits.detach())


class StraightThroughTopK(Estimator):
    """Module twin of :func:`straight_through_top_k`; temperature and noise play no part."""

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]``: 0 or 1."""
        return straight_through_top_k(importance, k)
