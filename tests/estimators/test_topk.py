"""The hard top-K."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.estimators import top_k_mask


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
    mask = top_k_mask(importance, 3, [([3, 4, 5], 2)])
    assert mask.tolist() == [1, 0, 0, 0, 1, 1]
    assert top_k_mask(importance, 3, [([0, 1], 1)]).tolist() == [1, 1, 1, 0, 0, 0]


def test_impossible_budgets_are_refused():
    for k, floors in ((-1, ()), (7, ()), (1, [([0, 1], 2)])):
        with pytest.raises(ValueError, match="budget"):
            top_k_mask(torch.zeros(6), k, floors)
