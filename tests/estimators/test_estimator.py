"""What every estimator promises, over sizes, budgets, temperatures and importances."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.estimators import (
    ESTIMATORS,
    gumbel_noise,
)

TEMPERATURES = [1e-8, 1e-4, 1e-2, 1.0, 1e3]
EXACT = [name for name, cls in ESTIMATORS.items() if cls.exact]
BOUNDED = [name for name in ESTIMATORS if name != "gumbel"]
LEARNING = [name for name, cls in ESTIMATORS.items() if cls.learns]
SITES = {1: (1,), 8: (4, 4), 48: (16, 32), 72: (72,), 288: (144, 144), 1152: (1152,)}


def _make(name, n):
    return ESTIMATORS[name](l0_penalty=None, concentrator=0.5, sizes=SITES[n])


def _importances(n):
    random = torch.randn(n)
    far_apart = torch.where(torch.arange(n) % 2 == 0, 1e8, -1e8)
    return {"random": random, "equal": torch.zeros(n), "extreme": random * 1e6, "far": far_apart}


def _budgets(n):
    return sorted({0, 1, n // 4, n // 2, n - 1, n} if n < 1152 else {1, 288, 1151})


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("n", SITES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gates_are_in_bounds_with_finite_gradients(name, n, temperature):
    estimator = _make(name, n)
    for kind, importance in _importances(n).items():
        if n == 1152 and kind in ("random", "far"):
            continue
        for k in _budgets(n):
            x = importance.clone().requires_grad_()
            gates = estimator(x, k, temperature, gumbel_noise(n, 1, k))
            assert torch.isfinite(gates).all()
            if name in EXACT:
                assert gates.sum().item() == pytest.approx(k, rel=1e-7), (kind, k)
            assert gates.min() >= 0
            if name in BOUNDED:
                assert gates.max() <= 1, (kind, k)
            if gates.requires_grad:
                (gates * torch.randn(n)).sum().backward()
                assert torch.isfinite(x.grad).all(), (kind, k)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in EXACT])
@pytest.mark.parametrize("n", [8, 48, 288])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0, 2.0])
def test_penalties_are_finite_and_not_negative(name, n, progress):
    for importance in _importances(n).values():
        for k in (1, n // 2, n - 1):
            x = importance.clone().requires_grad_()
            penalty = _make(name, n).penalty(x, k, 0.33, progress)
            assert torch.isfinite(penalty) and penalty >= 0
            penalty.backward()
            assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", EXACT)
def test_exact_budgets_have_no_penalty(name):
    assert _make(name, 8).penalty(torch.zeros(8), 3, 0.33, 0.5) is None


@pytest.mark.parametrize("name", LEARNING)
def test_gradient_reaches_importance(name):
    x = torch.randn(48, requires_grad=True)
    start, _ = ESTIMATORS[name].temperatures
    (_make(name, 48)(x, 12, start, gumbel_noise(48, 1, 1)) * torch.randn(48)).sum().backward()
    assert (x.grad != 0).any()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_budget_without_choice_is_a_constant(name):
    x = torch.randn(8, requires_grad=True)
    for k in (0, 8):
        gates = _make(name, 8)(x, k, 0.5, gumbel_noise(8, 1, 1))
        assert not gates.requires_grad
        assert gates.tolist() == [k / 8] * 8


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("k", [-1, 9])
def test_impossible_budgets_are_refused(name, k):
    with pytest.raises(ValueError, match="budget"):
        _make(name, 8)(torch.zeros(8), k, 1.0, gumbel_noise(8, 1, 1))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_same_noise_gives_the_same_gates(name):
    x, noise = torch.randn(48), gumbel_noise(48, 5, 7)
    estimator = _make(name, 48)
    assert torch.equal(estimator(x, 12, 0.5, noise), estimator(x, 12, 0.5, noise))


def test_no_estimator_takes_the_place_of_another():
    before = dict(ESTIMATORS)
    with pytest.raises(ValueError, match="the estimator 'simple' is there already"):
        ESTIMATORS["simple"] = ESTIMATORS["random"]
    with pytest.raises(ValueError, match="the estimator 'simple' is there already"):
        ESTIMATORS.update(simple=ESTIMATORS["random"])
    ESTIMATORS["simple"] = ESTIMATORS["simple"]
    assert before == ESTIMATORS
