"""SIMPLE: marginals, gradients and samples against enumeration of all subsets."""

from __future__ import annotations

import itertools

import pytest
import torch

from dsp_fairseq.estimators import ExactSubset, gumbel_noise, sample_subset, subset_marginals


def _enumerate(logits, k):
    subsets = list(itertools.combinations(range(logits.numel()), k))
    weights = torch.stack([logits[list(subset)].sum() for subset in subsets])
    return subsets, weights.softmax(0)


def _uniform(n, generator):
    return torch.rand(n, generator=generator, dtype=torch.double)


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
def test_marginals_against_enumeration(n, scale):
    logits = torch.randn(n, dtype=torch.double) * scale
    for k in range(1, n):
        expected = torch.zeros(n, dtype=torch.double)
        for subset, probability in zip(*_enumerate(logits, k), strict=True):
            expected[list(subset)] += probability
        torch.testing.assert_close(subset_marginals(logits, k), expected)


@pytest.mark.parametrize(("n", "k"), [(2, 1), (7, 3), (9, 8)])
def test_gradient_of_the_marginals_against_finite_differences(n, k):
    logits = torch.randn(n, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: subset_marginals(x, k), logits)


def test_a_sample_has_the_gradient_of_the_marginals():
    logits = torch.randn(12, dtype=torch.double, requires_grad=True)
    direction = torch.randn(12, dtype=torch.double)
    (a,) = torch.autograd.grad((subset_marginals(logits, 5) * direction).sum(), logits)
    sample = sample_subset(logits, 5, _uniform(12, torch.Generator().manual_seed(3)))
    (b,) = torch.autograd.grad((sample * direction).sum(), logits)
    torch.testing.assert_close(a, b)


def test_frequencies_of_subsets_are_the_exact_probabilities():
    logits = torch.tensor([0.5, -1.0, 0.0, 1.5, 0.2], dtype=torch.double)
    subsets, probabilities = _enumerate(logits, 2)
    generator = torch.Generator().manual_seed(11)
    draws = 4000
    counts = dict.fromkeys(subsets, 0)
    for _ in range(draws):
        gates = sample_subset(logits, 2, _uniform(5, generator))
        counts[tuple(gates.nonzero().flatten().tolist())] += 1
    expected = probabilities * draws
    observed = torch.tensor([counts[subset] for subset in subsets], dtype=torch.double)
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < 27.9  # chi-square of 9 degrees of freedom, p = 0.001


def test_the_order_of_the_heads_does_not_matter():
    logits = torch.randn(48, dtype=torch.double) * 3
    order = torch.randperm(48)
    torch.testing.assert_close(
        subset_marginals(logits, 12)[order], subset_marginals(logits[order], 12)
    )


def test_samples_tend_to_the_top_k():
    importance = torch.randn(72, dtype=torch.double)
    top = importance.topk(18).indices.sort().values
    for update in range(20):
        gates = ExactSubset()(importance, 18, 1e-6, gumbel_noise(72, 1, update))
        assert torch.equal(gates.nonzero().flatten(), top)
