"""Hard-concrete gates, and the penalties that lead them to K."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.estimators import (
    HardConcrete,
    PassGates,
    closed_probability,
    concentration_penalty,
    doubling_weight,
    gumbel_noise,
    hard_concrete,
    logistic_from_gumbel,
    open_probability,
    sparsity_penalty,
    top_k_mask,
)


def test_frequencies_of_closed_and_open_gates_are_the_exact_probabilities():
    log_alpha = torch.linspace(-3, 3, 7, dtype=torch.double)
    draws = 20000
    noise = logistic_from_gumbel(gumbel_noise(7 * draws, 1, 1)).view(draws, 7)
    gates = hard_concrete(log_alpha, 0.33, noise)
    for frequency, probability in (
        ((gates == 0).double().mean(0), closed_probability(log_alpha, 0.33)),
        ((gates == 1).double().mean(0), open_probability(log_alpha, 0.33)),
    ):
        error = (probability * (1 - probability) / draws).sqrt()
        assert ((frequency - probability).abs() < 4 * error).all()


def test_gradient_against_finite_differences():
    log_alpha = torch.randn(6, dtype=torch.double, requires_grad=True)
    noise = logistic_from_gumbel(gumbel_noise(6, 2, 1))
    assert torch.autograd.gradcheck(lambda x: hard_concrete(x, 0.5, noise), log_alpha)
    for probability in (closed_probability, open_probability):
        assert torch.autograd.gradcheck(lambda x, p=probability: p(x, 0.5), log_alpha)


def test_sparsity_penalty_is_zero_at_k_certain_gates_only():
    opened = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    assert sparsity_penalty(1 - opened, opened, 2) == 0
    assert sparsity_penalty(1 - opened, opened, 3) == 2
    even = sparsity_penalty(torch.full((5,), 0.6), torch.full((5,), 0.4), 2)
    assert even == pytest.approx(0, abs=1e-6)
    assert sparsity_penalty(torch.full((5,), 0.2), torch.full((5,), 0.2), 2) > 3


def test_concentration_counts_sites_with_a_head_left():
    closed = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.5, 0.5])
    assert concentration_penalty(closed, (2, 2, 2)) == pytest.approx(0 + 1 + 0.75)


def test_weights_double_ten_times_until_the_freeze():
    assert doubling_weight(0.5) == pytest.approx(doubling_weight(0.0) * 2**5)
    assert doubling_weight(1.0) == doubling_weight(7.0) == pytest.approx(0.1 * 2**10)


@pytest.mark.parametrize(
    "estimator", [HardConcrete(), PassGates(), PassGates(concentrator=0.1, sizes=(4,) * 6)]
)
@pytest.mark.parametrize("k", [3, 12, 20])
def test_penalties_lead_to_k_of_the_useful_heads(estimator, k):
    useful = torch.randn(24)
    importance = torch.nn.Parameter(torch.zeros(24))
    optimizer = torch.optim.Adam([importance], lr=0.2, betas=(0.9, 0.98))
    for update in range(300):
        gates = estimator(importance, k, 0.33, gumbel_noise(24, 1, update))
        loss = -0.1 * (gates * useful).sum() + estimator.penalty(importance, k, 0.33, update / 300)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    is_open = 1 - closed_probability(importance.detach(), 0.33)
    assert is_open.sum() == pytest.approx(k, abs=1.0)
    kept = top_k_mask(importance, k)
    assert useful[kept == 1].mean() > useful[kept == 0].mean()


def test_a_fixed_penalty_closes_more_heads_the_larger_it_is():
    counts = []
    for weight in (0.001, 0.05, 1.0):
        importance = torch.nn.Parameter(torch.zeros(24))
        optimizer = torch.optim.Adam([importance], lr=0.1)
        estimator = HardConcrete(l0_penalty=weight)
        for update in range(200):
            gates = estimator(importance, 6, 0.33, gumbel_noise(24, 1, update))
            loss = -0.1 * (gates * torch.linspace(0, 1, 24)).sum()
            loss = loss + estimator.penalty(importance, 6, 0.33, 0.5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        counts.append(int((closed_probability(importance.detach(), 0.33) < 0.5).sum()))
    assert counts[0] > counts[1] > counts[2]
