"""The random control."""

from __future__ import annotations

import torch

from dsp_fairseq.estimators import (
    ESTIMATORS,
    gumbel_noise,
    top_k_mask,
)

SITES = {1: (1,), 8: (4, 4), 48: (16, 32), 72: (72,), 288: (144, 144), 1152: (1152,)}


def _make(name, n):
    return ESTIMATORS[name](l0_penalty=None, concentrator=0.5, sizes=SITES[n])


def test_random_sets_are_uniform_over_seeds():
    estimator = _make("random", 8)
    counts = torch.zeros(8)
    draws = 2000
    for seed in range(draws):
        counts += top_k_mask(estimator.initial_importance(gumbel_noise(8, seed, -1)), 3)
    # Pearson's statistic over 8 counts that sum to 3 of 8 (a hypergeometric's covariance).
    expected = draws * 3 / 8
    statistic = ((counts - expected) ** 2).sum() / (expected * (1 - 3 / 8)) * 7 / 8
    assert statistic < 24.3  # chi-square of 7 degrees of freedom, p = 0.001
