"""Budgets in cost: heads have prices, and those kept may cost so much together."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

_EQUAL = 1e-9


@dataclass(frozen=True)
class CostBudget:
    """Prices of heads, and what the kept ones may cost together.

    Exact fractions, so that ten heads of 0.1 cost 1.

    Attributes:
        costs: the price of each head ``[N]``, positive.
        limit: C.
    """

    costs: tuple[Fraction, ...]
    limit: Fraction

    @property
    def total(self) -> Fraction:
        """What all heads cost."""
        return sum(self.costs, Fraction())

    @cached_property
    def units(self) -> Tensor:
        """The prices ``[N]`` in mean heads, float64."""
        mean = self.total / len(self.costs)
        return torch.tensor([float(cost / mean) for cost in self.costs], dtype=torch.float64)

    @cached_property
    def limit_in_units(self) -> float:
        """C in mean heads."""
        return float(self.limit * len(self.costs) / self.total)

    def cost_of(self, mask: Tensor) -> Fraction:
        """What the heads of a 0/1 mask ``[N]`` cost."""
        flags = mask.tolist()
        paid = (cost for cost, flag in zip(self.costs, flags, strict=True) if flag)
        return sum(paid, Fraction())

    def margin(self, importance: Tensor) -> Tensor:
        """How far the border is from a change (a scalar): see :func:`rank_by_density`."""
        units = self.units.to(importance.device)
        density, _, border = rank_by_density(importance.double(), units, self.limit_in_units)
        if border in (0, len(self.costs)):
            return importance.new_zeros(())
        return (density[border - 1] - density[border]).to(importance.dtype)

    def __str__(self) -> str:
        return f"heads that cost at most {float(self.limit):g}"


def rank_by_density(x: Tensor, costs: Tensor, limit: float) -> tuple[Tensor, Tensor, int]:
    """The order in which a cost budget is spent, and how far it goes.

    Args:
        x: importance ``[N]``, float64.
        costs: ``[N]``, float64.
        limit: C.

    Returns:
        importance per cost ``[N]``, the highest first; what that many heads cost together
        ``[N]``; and how many are paid for before the first is too dear.
    """
    density, order = (x / costs).sort(descending=True, stable=True)
    spent = costs[order].cumsum(0)
    return density, spent, int((spent <= limit * (1 + _EQUAL)).sum())


def border_of(
    density: Tensor, spent: Tensor, paid: int, limit: float
) -> tuple[Tensor | float, float]:
    """Where the gates go from open to closed: a density, and how far its neighbours are from it.

    Where the budget is spent to the last, that is in the middle between two heads; otherwise the
    border is the head that it pays a part of.

    Args:
        density: as :func:`rank_by_density` returns it, as the next two.
        spent: what that many heads cost.
        paid: how many are paid for.
        limit: C, between 0 and the cost of all heads.
    """
    paid = min(paid, len(density) - 1)
    if paid and abs(float(spent[paid - 1]) - limit) <= _EQUAL * limit:
        above, below = density[paid - 1], density[paid]
        return (above + below) / 2, float(above - below) / 2
    around = density[max(paid - 1, 0) : paid + 2]
    return density[paid], max(float((other - density[paid]).abs()) for other in around)
