"""Noise as a function of seed and update."""

from __future__ import annotations

import math

import torch

from dsp_fairseq.estimators import (
    gumbel_noise,
    logistic_from_gumbel,
    uniform_from_gumbel,
)


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


def test_logistic_and_uniform_noise_agree():
    noise = gumbel_noise(1000, 4, 2)
    torch.testing.assert_close(
        torch.sigmoid(logistic_from_gumbel(noise)), uniform_from_gumbel(noise)
    )
