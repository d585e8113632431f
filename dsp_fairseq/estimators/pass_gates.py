"""PASS and PASSCONC: hard-concrete gates that are led to exactly K open and N - K closed ones.

Source: Ding et al. (TMLR 2024), *PASS: Pruning Attention Heads with Almost-sure Sparsity Targets*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .hard_concrete import (
    HardConcrete,
    closed_probability,
    doubling_weight,
    open_probability,
)


def sparsity_penalty(closed: Tensor, opened: Tensor, k: int) -> Tensor:
    """``sum(1 - p0 - p1) + |(N - K) - sum p0| + |K - sum p1|``.

    It is zero just where every gate is 0 or 1 almost surely and K of them are 1.

    Args:
        closed: p0 = P(gate = 0) ``[N]``.
        opened: p1 = P(gate = 1) ``[N]``.
        k: budget.
    """
    undecided = (1.0 - closed - opened).sum()
    return undecided + (closed.numel() - k - closed.sum()).abs() + (k - opened.sum()).abs()


def concentration_penalty(closed: Tensor, sizes: Sequence[int]) -> Tensor:
    """Expected number of sites with a head left: ``sum over sites of (1 - product of p0)``.

    Args:
        closed: P(gate = 0) ``[N]``.
        sizes: heads of each site, in the order of ``closed``.
    """
    return torch.stack([1.0 - site.prod() for site in closed.split(list(sizes))]).sum()


class PassGates(HardConcrete):
    """Hard-concrete gates under :func:`sparsity_penalty`, weighted by ``doubling_weight``.

    Args:
        concentrator: weight of :func:`concentration_penalty` within it, which empties whole sites
            (PASSCONC); 0 is PASS.
        sizes: heads of each site.
    """

    def __init__(self, concentrator: float = 0.0, sizes: Sequence[int] = (), **_: Any) -> None:
        super().__init__()
        self.concentrator = concentrator
        self.sizes = tuple(sizes)

    def penalty(self, importance: Tensor, k: int, temperature: float, progress: float) -> Tensor:
        """The penalty per token, in units of the loss."""
        log_alpha = importance.double()
        closed = closed_probability(log_alpha, temperature)
        penalty = sparsity_penalty(closed, open_probability(log_alpha, temperature), k)
        if self.concentrator:
            penalty = penalty + self.concentrator * concentration_penalty(closed, self.sizes)
        return doubling_weight(progress) * penalty
