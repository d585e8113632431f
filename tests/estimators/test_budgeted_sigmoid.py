"""The budgeted sigmoid: gradient, problem, limit."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from dsp_fairseq.estimators import (
    CostBudget,
    budgeted_sigmoid,
    priced_sigmoid,
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


# ---- heads with prices


def _budget(prices, limit) -> CostBudget:
    return CostBudget(tuple(Fraction(str(p)) for p in prices), Fraction(str(limit)))


def _cost(gates, budget):
    return sum(g * float(c) for g, c in zip(gates.tolist(), budget.costs, strict=True))


@pytest.mark.parametrize("temperature", [0.3, 0.7, 3.0])
@pytest.mark.parametrize(("prices", "limit"), [((1, 4), 2), ((0.2, 1, 3) * 3, 5.5), ((9, 1), 9.9)])
def test_priced_gradient_against_finite_differences(prices, limit, temperature):
    budget = _budget(prices, limit)
    x = torch.randn(len(prices), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: priced_sigmoid(v, budget, temperature), x)


def test_priced_sigmoid_is_the_solution_of_its_problem():
    # Stationarity: logits - t * logit(g) is nu times the price, for every head.
    budget = _budget((1, 4, 2.5, 0.5) * 5, 17)
    x = torch.randn(20, dtype=torch.double)
    gates = priced_sigmoid(x, budget, 0.3)
    nu = (x - 0.3 * torch.logit(gates)) / budget.units
    torch.testing.assert_close(nu, nu.mean().expand(20))
    assert _cost(gates, budget) == pytest.approx(17, rel=1e-12)


@pytest.mark.parametrize("price", [1, 0.3, 250])
def test_equal_prices_give_the_gates_of_the_count(price):
    for k, temperature in ((1, 1.0), (18, 0.1), (71, 1e-8), (36, 1e3)):
        x = torch.randn(72, dtype=torch.double, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        weights = torch.randn(72, dtype=torch.double)
        counted = budgeted_sigmoid(x, k, temperature)
        priced = priced_sigmoid(y, _budget((price,) * 72, Fraction(str(price)) * k), temperature)
        torch.testing.assert_close(priced, counted, rtol=1e-9, atol=1e-12)
        (counted * weights).sum().backward()
        (priced * weights).sum().backward()
        torch.testing.assert_close(y.grad, x.grad, rtol=1e-9, atol=1e-12)


def test_the_unit_of_prices_does_not_matter():
    x = torch.randn(24, dtype=torch.double)
    seconds, prices = _budget((0.001, 0.004) * 12, 0.03), _budget((1, 4) * 12, 30)
    torch.testing.assert_close(priced_sigmoid(x, seconds, 0.4), priced_sigmoid(x, prices, 0.4))


EXTREMES = {
    "random": lambda n: torch.randn(n),
    "equal": torch.zeros,
    "extreme": lambda n: torch.randn(n) * 1e6,
    "far": lambda n: torch.where(torch.arange(n) % 2 == 0, 1e8, -1e8),
    "tied per cost": lambda n: torch.tensor([1.0, 4.0, 1e3] * n)[:n],
}


@pytest.mark.parametrize("n", [2, 48, 288])
@pytest.mark.parametrize("temperature", [1e-8, 1e-4, 1e-2, 1.0, 1e3])
def test_priced_gates_cost_the_budget_whatever_the_importance(n, temperature):
    for unit in (1.0, 4.0, 1e4):
        prices = [(1.0, unit, 2.7)[i % 3] for i in range(n)]
        total = sum(map(Fraction, map(str, prices)))
        for share in (Fraction(1, 10**6), Fraction(1, 5), Fraction(1, 2), 1 - Fraction(1, 10**6)):
            budget = CostBudget(tuple(Fraction(str(p)) for p in prices), total * share)
            for kind, make in EXTREMES.items():
                x = make(n).double().requires_grad_()
                gates = priced_sigmoid(x, budget, temperature)
                case = (unit, share, kind)
                assert gates.min() >= 0 and gates.max() <= 1, case
                assert _cost(gates, budget) == pytest.approx(float(budget.limit), rel=1e-7), case
                (gates * torch.randn(n)).sum().backward()
                assert torch.isfinite(x.grad).all(), case


def test_a_budget_that_leaves_no_choice_gives_constants():
    x = torch.randn(3, requires_grad=True)
    for limit, gate in ((0, 0.0), (6, 1.0)):
        gates = priced_sigmoid(x, _budget((1, 2, 3), limit), 1.0)
        assert gates.tolist() == [gate] * 3 and not gates.requires_grad
    for limit, temperature in ((7, 1.0), (-1, 1.0), (3, 0.0), (0, 0.0)):
        with pytest.raises(ValueError, match=r"outside|positive"):
            priced_sigmoid(x, _budget((1, 2, 3), limit), temperature)
