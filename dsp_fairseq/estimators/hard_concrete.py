"""Hard-concrete gates: each head is open by itself, and a penalty drives how many are.

Source: Louizos, Welling and Kingma (ICLR 2018), *Learning Sparse Neural Networks through L0
Regularization*; for heads Voita et al. (ACL 2019), *Analyzing Multi-Head Self-Attention*.

PASS and PASSCONC lead them to exactly K open and N - K closed gates: Ding et al. (TMLR 2024),
*PASS: Pruning Attention Heads with Almost-sure Sparsity Targets*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .estimator import Estimator, Option
from .noise import logistic_from_gumbel
from .topk import constant_gates

STRETCH = (-0.1, 1.1)
"""The interval that concrete samples are stretched to before they are cut to [0, 1]."""
FIRST_WEIGHT = 0.1
DOUBLINGS = 10


def hard_concrete(log_alpha: Tensor, temperature: float, logistic: Tensor) -> Tensor:
    """A hard-concrete sample: 0 and 1 with positive probability each, differentiable between.

    ``s = sigmoid((logistic + log_alpha) / t)``, stretched to :data:`STRETCH`, cut to [0, 1].

    Args:
        log_alpha: ``[N]``.
        temperature: t > 0.
        logistic: standard logistic noise ``[N]``.

    Returns:
        gates ``[N]``, each in [0, 1]; how many are open is up to ``log_alpha``.
    """
    low, high = STRETCH
    return (torch.sigmoid((logistic + log_alpha) / temperature) * (high - low) + low).clamp(0, 1)


def closed_probability(log_alpha: Tensor, temperature: float) -> Tensor:
    """P(gate = 0) ``[N]`` (Louizos et al. 2018, eq. 12)."""
    low, high = STRETCH
    return torch.sigmoid(temperature * math.log(-low / high) - log_alpha)


def open_probability(log_alpha: Tensor, temperature: float) -> Tensor:
    """P(gate = 1) ``[N]``, by the same distribution function at the upper end."""
    low, high = STRETCH
    return torch.sigmoid(log_alpha - temperature * math.log((1 - low) / (high - 1)))


def doubling_weight(progress: float) -> float:
    """The weight of a count penalty: from :data:`FIRST_WEIGHT`, doubled ten times until the freeze.

    A pure function of the progress, where Ding et al. (2024) double once an epoch until the count
    is met: where it is met, the penalty is at its least whatever its weight.
    """
    return FIRST_WEIGHT * 2.0 ** (DOUBLINGS * min(max(progress, 0.0), 1.0))


class HardConcrete(Estimator):
    """Hard-concrete gates of ``log_alpha = importance`` under a penalty per token.

    Args:
        l0_penalty: Voita et al.'s: this times the expected number of open gates. Where it is None
            the number is led to K instead, by ``|expected - K|`` times :func:`doubling_weight`.
    """

    temperatures = (0.33, 0.33)
    exact = False
    options = (
        Option(
            "l0_penalty",
            None,
            "loss per token and expected open head, as Voita et al. have it (default: a penalty "
            "that leads their number to K)",
        ),
    )

    def __init__(self, l0_penalty: float | None = None, **_: Any) -> None:
        super().__init__()
        self.l0_penalty = l0_penalty

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]`` in float64, each in [0, 1]; constants at K = 0 and K = N."""
        constant = constant_gates(importance, k, temperature)
        if constant is not None:
            return constant
        return hard_concrete(importance.double(), temperature, logistic_from_gumbel(noise))

    def penalty(self, importance: Tensor, k: int, temperature: float, progress: float) -> Tensor:
        """The penalty per token, in units of the loss."""
        expected = (1.0 - closed_probability(importance.double(), temperature)).sum()
        if self.l0_penalty is not None:
            return self.l0_penalty * expected
        return doubling_weight(progress) * (expected - k).abs()


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

    options = (
        Option(
            "concentrator",
            0.0,
            "weight of the expected number of sites with heads left, which empties whole sites "
            "(default: 0)",
        ),
    )

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
