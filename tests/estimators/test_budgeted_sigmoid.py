"""The budgeted sigmoid: gradient, problem, limit."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.estimators import (
    budgeted_sigmoid,
    top_k_mask,
)


@pytest.mark.parametrize(("n", "k", "temperature"), [(2, 1, 1.0), (9, 4, 0.7), (12, 11, 3.0)])
def test_sigmoid_gradient_against_finite_differences(n, k, temperature):
    x = torch.randn(n, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: budgeted_sigmoid(v, k, temperature), x)


def test_sigmoid_is_the_solution_of_its_problem():
    # Stationarity: logits - t * logit(g) is the same number, nu, for every head.
    x = torch.randn(20, dtype=torch.double)
    gates = budgeted_sigmoid(x, 6, 0.3)
    nu = x - 0.3 * torch.logit(gates)
    torch.testing.assert_close(nu, nu.mean().expand(20))


def test_sigmoid_tends_to_the_hard_top_k():
    x = torch.randn(72, dtype=torch.double)
    for k in (1, 18, 71):
        hard = top_k_mask(x, k).double()
        torch.testing.assert_close(budgeted_sigmoid(x, k, 1e-8), hard, rtol=0, atol=1e-9)
