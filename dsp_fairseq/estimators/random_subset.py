"""The control: K heads drawn at random, and nothing learned."""

from __future__ import annotations

from torch import Tensor

from .estimator import Estimator
from .topk import constant_gates, top_k_mask


class RandomSubset(Estimator):
    """A uniformly random set of K heads, fixed from the first update on.

    Importance starts as Gumbel noise and does not change: its order is a random permutation.
    """

    learns = False

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]``: 0 or 1."""
        constant = constant_gates(importance, k, temperature)
        return top_k_mask(importance, k) if constant is None else constant

    def initial_importance(self, noise: Tensor) -> Tensor:
        return noise
