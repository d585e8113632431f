"""The hard top-K."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsp_fairseq.estimators import NO_LIMITS, Limits, top_k_mask


@pytest.mark.parametrize("n", [1, 8, 72])
def test_exactly_k_whatever_the_ties(n):
    for importance in (torch.zeros(n), torch.randn(n), torch.arange(n) // 2 * 1.0):
        for k in range(n + 1):
            assert top_k_mask(importance, k).sum() == k


def test_ties_go_to_the_lower_index():
    assert top_k_mask(torch.zeros(5), 2).tolist() == [1, 1, 0, 0, 0]
    assert top_k_mask(torch.tensor([0.0, 1.0, 0.0, 0.0]), 2).tolist() == [1, 1, 0, 0]


def test_floors_come_first_and_the_rest_goes_by_importance():
    importance = torch.tensor([9.0, 8.0, 7.0, 1.0, 3.0, 2.0])
    mask = top_k_mask(importance, 3, Limits((([3, 4, 5], 2),)))
    assert mask.tolist() == [1, 0, 0, 0, 1, 1]
    assert top_k_mask(importance, 3, Limits((([0, 1], 1),))).tolist() == [1, 1, 1, 0, 0, 0]


def test_impossible_budgets_are_refused():
    floors, ceilings = Limits((([0, 1], 2),)), Limits((), ((range(6), 3),))
    for k, limits in ((-1, NO_LIMITS), (7, NO_LIMITS), (1, floors), (4, ceilings)):
        with pytest.raises(ValueError, match="budget"):
            top_k_mask(torch.zeros(6), k, limits)


# ---- floors and ceilings, against a search of all subsets

SITES = (range(0, 2), range(2, 5), range(5, 8), range(8, 9))
KINDS = (range(0, 5), range(5, 9))
N = 9

counts = st.lists(st.tuples(st.sampled_from(SITES + KINDS), st.integers(0, 5)), max_size=4)


def _allows(limits: Limits, kept: set[int]) -> bool:
    return all(len(kept & set(members)) >= least for members, least in limits.floors) and all(
        len(kept & set(members)) <= most for members, most in limits.ceilings
    )


@given(st.permutations(range(N)), counts, counts)
def test_the_best_set_of_every_budget_is_found_and_none_where_there_is_none(
    importance, floors, ceilings
):
    limits = Limits(tuple(floors), tuple(ceilings))
    # Powers of two: no two sets have the same sum.
    weights = [2.0**rank for rank in importance]
    best = {}
    for k in range(N + 1):
        sets = [set(s) for s in combinations(range(N), k) if _allows(limits, set(s))]
        if sets:
            best[k] = max(sets, key=lambda kept: sum(weights[head] for head in kept))
    try:
        least, most = limits.range_of_budgets(N)
    except ValueError:
        assert not best
        return
    assert sorted(best) == list(range(least, most + 1))
    for k, kept in best.items():
        mask = top_k_mask(torch.tensor(weights), k, limits)
        assert set(mask.nonzero().flatten().tolist()) == kept


def test_kept_sets_of_growing_budgets_are_nested():
    limits = Limits(((SITES[3], 1), (KINDS[0], 2)), tuple((site, 2) for site in SITES))
    importance = torch.linspace(1, 0, N)
    masks = [top_k_mask(importance, k, limits) for k in range(3, 8)]
    for smaller, larger in pairwise(masks):
        assert bool((smaller <= larger).all())


def test_ties_go_to_the_lower_index_under_limits_too():
    limits = Limits((), tuple((site, 1) for site in SITES))
    assert top_k_mask(torch.zeros(N), 3, limits).nonzero().flatten().tolist() == [0, 2, 5]


def test_ceilings_that_leave_too_little_for_a_floor():
    with pytest.raises(ValueError, match="leave fewer than 2 of 3 heads"):
        Limits(((SITES[1], 2),), ((SITES[1], 1),)).split(range(N))
