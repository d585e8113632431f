"""Budgets in cost: exact prices, their unit, and the border."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from dsp_fairseq.estimators import CostBudget
from dsp_fairseq.estimators.costs import border_of, rank_by_density


def test_the_margin_is_that_of_the_border():
    costs = tuple(map(Fraction, (1, 1, 2, 2)))
    importance = torch.tensor([3.0, 2.0, 2.0, 1.0])
    assert CostBudget(costs, Fraction(2)).margin(importance).item() == pytest.approx(1.0 * 1.5)
    assert CostBudget(costs, Fraction(3)).margin(importance).item() == pytest.approx(1.0 * 1.5)
    assert CostBudget(costs, Fraction(6)).margin(importance) == 0
    assert CostBudget((Fraction(5),) * 4, Fraction(10)).margin(importance).item() == 0


def test_prices_are_taken_in_mean_heads():
    budget = CostBudget((Fraction(1), Fraction(2), Fraction(6)), Fraction(3))
    assert budget.units.tolist() == pytest.approx([1 / 3, 2 / 3, 2])
    assert budget.limit_in_units == 1.0
    assert budget.cost_of(torch.tensor([1.0, 0.0, 1.0])) == 7
    assert str(budget) == "heads that cost at most 3"


def test_the_border_is_between_two_heads_or_within_one():
    x, costs = torch.tensor([4.0, 8.0, 1.0]).double(), torch.tensor([1.0, 4.0, 1.0]).double()
    density, spent, paid = rank_by_density(x, costs, 5.0)
    assert (density.tolist(), spent.tolist(), paid) == ([4, 2, 1], [1, 5, 6], 2)
    assert border_of(density, spent, paid, 5.0) == (1.5, 0.5)
    density, spent, paid = rank_by_density(x, costs, 3.0)
    assert paid == 1
    assert border_of(density, spent, paid, 3.0) == (2.0, 2.0)
