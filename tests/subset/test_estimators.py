"""What every estimator that draws exactly K promises, over sizes, budgets and temperatures."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.subset import (
    ESTIMATORS,
    budgeted_sigmoid,
    gumbel_noise,
    straight_through_top_k,
    top_k_mask,
)

TEMPERATURES = [1e-8, 1e-4, 1e-2, 1.0, 1e3]
BOUNDED = ["ste", "sigmoid"]


def _importances(n):
    random = torch.randn(n)
    far_apart = torch.where(torch.arange(n) % 2 == 0, 1e8, -1e8)
    return {"random": random, "equal": torch.zeros(n), "extreme": random * 1e6, "far": far_apart}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("n", [1, 8, 48, 288])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gates_sum_to_k_with_finite_gradients(name, n, temperature):
    estimator = ESTIMATORS[name]()
    for kind, importance in _importances(n).items():
        for k in sorted({0, 1, n // 4, n // 2, n - 1, n}):
            x = importance.clone().requires_grad_()
            gates = estimator(x, k, temperature, gumbel_noise(n, 1, k))
            assert gates.sum().item() == pytest.approx(k, rel=1e-7), (kind, k)
            assert gates.min() >= 0
            if name in BOUNDED:
                assert gates.max() <= 1, (kind, k)
            if gates.requires_grad:
                (gates * torch.randn(n)).sum().backward()
                assert torch.isfinite(x.grad).all(), (kind, k)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_largest_model(name):
    x = torch.randn(1152, requires_grad=True)
    for k in (1, 288, 576, 1151):
        for temperature in (1e-8, 0.1, 10.0):
            gates = ESTIMATORS[name]()(x, k, temperature, gumbel_noise(1152, 1, k))
            assert gates.sum().item() == pytest.approx(k, rel=1e-7)
            (grad,) = torch.autograd.grad(gates.double().pow(2).sum(), x)
            assert torch.isfinite(grad).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_budget_without_choice_is_a_constant(name):
    x = torch.randn(8, requires_grad=True)
    for k in (0, 8):
        gates = ESTIMATORS[name]()(x, k, 0.5, gumbel_noise(8, 1, 1))
        assert not gates.requires_grad
        assert gates.tolist() == [k / 8] * 8


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("k", [-1, 9])
def test_impossible_budgets_are_refused(name, k):
    with pytest.raises(ValueError, match="budget"):
        ESTIMATORS[name]()(torch.zeros(8), k, 1.0, gumbel_noise(8, 1, 1))


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


def test_straight_through_is_hard_forward_and_identity_backward():
    x = torch.tensor([0.3, 0.3, 0.3, -1.0, 2.0], requires_grad=True)
    gates = straight_through_top_k(x, 3)
    assert gates.tolist() == [1, 1, 0, 0, 1]
    (gates * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [1, 2, 3, 4, 5]
