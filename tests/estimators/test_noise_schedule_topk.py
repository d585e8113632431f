"""Noise, temperature and the hard top-K."""

from __future__ import annotations

import math

import pytest
import torch

from dsp_fairseq.estimators import gumbel_noise, log_linear, top_k_mask


def test_noise_is_a_function_of_seed_and_update():
    a = gumbel_noise(48, 3, 10)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    assert torch.equal(a, gumbel_noise(48, 3, 10))
    assert not torch.equal(a, gumbel_noise(48, 3, 11))
    assert not torch.equal(a, gumbel_noise(48, 4, 10))
    assert not torch.equal(gumbel_noise(48, 10, 3), a)
    torch.set_rng_state(state)
    gumbel_noise(48, 3, 10)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_is_standard_gumbel():
    sample = torch.cat([gumbel_noise(1152, 1, update) for update in range(20)])
    assert torch.isfinite(sample).all()
    assert abs(sample.mean().item() - 0.5772) < 0.03
    assert abs(sample.var().item() - math.pi**2 / 6) < 0.06


def test_noise_of_neighbouring_updates_is_uncorrelated():
    draws = torch.stack([gumbel_noise(200, 1, update) for update in range(200)])
    correlation = torch.corrcoef(draws)
    off_diagonal = correlation[~torch.eye(200, dtype=torch.bool)]
    assert off_diagonal.abs().max() < 0.4
    assert abs(off_diagonal.mean().item()) < 0.01


def test_temperature_falls_log_linearly():
    assert log_linear(0, 0.1, 1e-8, 1000) == 0.1
    assert log_linear(1000, 0.1, 1e-8, 1000) == 1e-8
    assert log_linear(5000, 0.1, 1e-8, 1000) == 1e-8
    assert log_linear(500, 1.0, 1e-4, 1000) == pytest.approx(1e-2)
    assert log_linear(0, 0.1, 1e-8, 0) == 1e-8


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
