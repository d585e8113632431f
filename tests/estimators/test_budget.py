"""Budgets in cost: what is kept, against a search of all subsets."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsp_fairseq.estimators import (
    NO_LIMITS,
    CostBudget,
    Limits,
    kept_mask,
    leaves_no_choice,
    priced_sigmoid,
    top_k_mask,
)

KINDS = (range(0, 5), range(5, 9))
SITES = (range(0, 2), range(2, 5), range(5, 8), range(8, 9))
N = 9

prices = st.sampled_from([Fraction(1, 10), Fraction(3, 10), Fraction(1), Fraction(7, 3)])
importances = st.lists(st.integers(-3, 3), min_size=N, max_size=N)
counts = st.lists(st.tuples(st.sampled_from(SITES + KINDS), st.integers(0, 3)), max_size=4)


def _kept(mask) -> set[int]:
    return set(mask.nonzero().flatten().tolist())


def _allows(limits: Limits, kept: set[int]) -> bool:
    return all(len(kept & set(members)) >= least for members, least in limits.floors) and all(
        len(kept & set(members)) <= most for members, most in limits.ceilings
    )


@given(importances, st.tuples(prices, prices), st.integers(0, 60), counts, counts)
@settings(deadline=None)
def test_never_more_than_the_budget_and_no_other_head_within_it(
    importance, prices, share, floors, ceilings
):
    """Against all subsets: the guarantees, and that a budget is refused where none meets it."""
    limits = Limits(tuple(floors), tuple(ceilings))
    costs = tuple(prices[0] if i in KINDS[0] else prices[1] for i in range(N))
    budget = CostBudget(costs, sum(costs) * share / 60)
    subsets = (set(s) for k in range(N + 1) for s in combinations(range(N), k))
    allowed = [s for s in subsets if _allows(limits, s)]
    affordable = [s for s in allowed if sum(costs[i] for i in s) <= budget.limit]
    if not affordable:
        with pytest.raises(ValueError, match="leave fewer than"):
            kept_mask(torch.tensor(importance), budget, limits)
        return
    kept = _kept(kept_mask(torch.tensor(importance), budget, limits))
    assert kept in affordable
    assert not any(kept < other for other in affordable), "there is room for one more"
    # Of each kind the most important are kept, as many as there are: prices are alike there.
    for members in KINDS:
        others = [s for s in allowed if s - set(members) == kept - set(members)]
        best = max(sum(importance[i] for i in s) for s in others if len(s) == len(kept))
        assert sum(importance[i] for i in kept) == best


@given(importances, st.integers(0, N))
@settings(deadline=None)
def test_equal_prices_are_a_count(importance, k):
    x, price = torch.tensor(importance) / 3, Fraction(7, 3)
    limits = Limits(((SITES[2], 1),), ((KINDS[0], 3),))
    budget = CostBudget((price,) * N, price * k + Fraction(1, 2))
    assert kept_mask(x, budget).equal(top_k_mask(x, k))
    if 1 <= k <= 7:
        assert kept_mask(x, budget, limits).equal(top_k_mask(x, k, limits))


def test_heads_are_taken_by_importance_per_cost_and_the_rest_is_filled():
    costs = tuple(map(Fraction, (1, 4, 4, 1)))
    importance = torch.tensor([0.1, 3.0, 2.0, -1.0])
    assert _kept(kept_mask(importance, CostBudget(costs, Fraction(4)))) == {1}
    assert _kept(kept_mask(importance, CostBudget(costs, Fraction(5)))) == {0, 1}
    # The second of 4 is too dear: the cheap one behind it is taken.
    assert _kept(kept_mask(importance, CostBudget(costs, Fraction(7)))) == {0, 1, 3}
    assert _kept(kept_mask(importance, CostBudget(costs, Fraction(0)))) == set()
    assert _kept(kept_mask(importance, CostBudget(costs, Fraction(10)))) == {0, 1, 2, 3}


def test_ties_go_to_the_lower_index():
    costs = tuple(map(Fraction, (2, 1, 2, 1)))
    assert _kept(kept_mask(torch.zeros(4), CostBudget(costs, Fraction(3)))) == {0, 1}


def test_fractions_add_up():
    """0.1 + 0.2 is 0.3 here: ten heads of a tenth cost 1."""
    budget = CostBudget((Fraction("0.1"),) * 20, Fraction(1))
    assert kept_mask(torch.zeros(20), budget).sum() == 10
    assert budget.cost_of(kept_mask(torch.zeros(20), budget)) == 1


def test_shifting_importance_along_the_prices_changes_nothing():
    """Neither the gates nor, so that training and deployment agree, the heads kept."""
    prices = torch.tensor([1.0, 4.0, 3.0] * 8, dtype=torch.double)
    budget = CostBudget(tuple(Fraction(int(p)) for p in prices), Fraction(20))
    x = torch.randn(24, dtype=torch.double)
    for shift in (-2.0, 0.5, 3.0):
        moved = x + shift * prices
        assert kept_mask(moved, budget).equal(kept_mask(x, budget))
        torch.testing.assert_close(
            priced_sigmoid(moved, budget, 0.5), priced_sigmoid(x, budget, 0.5)
        )


def test_the_relaxation_tends_to_what_is_kept():
    """But for the head at the border, open in part, and what the rest of the budget is spent on."""
    prices = [1, 4, 3] * 8
    for limit in (7, 20, 40, 63):
        budget = CostBudget(tuple(map(Fraction, prices)), Fraction(limit))
        x = torch.randn(24, dtype=torch.double)
        gates = priced_sigmoid(x, budget, 1e-8)
        opened = _kept(gates > 1 - 1e-9)
        assert opened <= _kept(kept_mask(x, budget))
        assert ((gates > 1e-9) & (gates < 1 - 1e-9)).sum() <= 1
        dearest = max(prices[i] for i in range(24) if i not in opened)
        assert limit - dearest < sum(prices[i] for i in opened) <= limit


def test_all_or_nothing_leaves_no_choice():
    costs = (Fraction(1), Fraction(2))
    budgets = [CostBudget(costs, Fraction(c)) for c in range(4)]
    assert [leaves_no_choice(budget, 2) for budget in budgets] == [True, False, False, True]
    assert [leaves_no_choice(k, 2) for k in range(3)] == [True, False, True]
    assert NO_LIMITS.split([1, 0], lambda head: head != 1) == ([], [0])
