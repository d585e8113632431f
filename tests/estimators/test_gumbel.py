"""The relaxed Gumbel top-K: its invariants over temperatures, budgets and importances."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.estimators import GumbelTopK, gumbel_noise, relaxed_top_k, top_k_mask
from dsp_fairseq.estimators.gumbel import GRADIENT_BOUND

TEMPERATURES = [1e-8, 1e-6, 1e-4, 1e-2, 0.1, 1.0, 10.0, 1e3]


def _budgets(n):
    return sorted({k for k in (0, 1, 2, n // 4, n // 2, n - 1, n) if 0 <= k <= n})


def _logits(n):
    random = torch.randn(n, dtype=torch.double)
    return {
        "random": random,
        "equal": torch.zeros(n, dtype=torch.double),
        "extreme": random * 1e6,
        "two far apart": torch.where(torch.arange(n) % 2 == 0, 1e8, -1e8).double(),
    }


@pytest.mark.parametrize("n", [1, 2, 8, 72, 288])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gates_sum_to_k_and_gradient_is_finite(n, temperature):
    for name, logits in _logits(n).items():
        for k in _budgets(n):
            logits = logits.clone().requires_grad_()
            gates = relaxed_top_k(logits, k, temperature)
            assert gates.min() >= 0, (name, k)
            assert gates.sum().item() == pytest.approx(k, rel=1e-9), (name, k)
            if 0 < k < n:
                (grad,) = torch.autograd.grad((gates * torch.randn(n).double()).sum(), logits)
                assert torch.isfinite(grad).all(), (name, k)


@pytest.mark.parametrize("k", [1, 288, 1151])
@pytest.mark.parametrize("temperature", [1e-8, 1e-2, 1.0, 1e3])
def test_the_largest_model(k, temperature):
    logits = torch.randn(1152, dtype=torch.double, requires_grad=True)
    gates = relaxed_top_k(logits, k, temperature)
    assert abs(gates.sum().item() - k) < 1e-9 * 1152
    gates.pow(2).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("n", "k", "temperature"), [(2, 1, 1.0), (6, 3, 0.5), (8, 7, 2.0), (12, 4, 0.3), (5, 2, 100.0)]
)
def test_gradient_against_finite_differences(n, k, temperature):
    logits = torch.randn(n, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: relaxed_top_k(x, k, temperature), logits)


def test_gradient_against_autograd_of_the_formula():
    logits = torch.randn(10, dtype=torch.double, requires_grad=True)
    target = torch.randn(10, dtype=torch.double)

    def formula(r, t):
        total = 0
        for _ in range(4):
            p = torch.softmax(r / t, 0)
            r = r + torch.log(1 - p)
            total = total + p
        return total

    ours, plain = relaxed_top_k(logits, 4, 0.2), formula(logits, 0.2)
    torch.testing.assert_close(ours, plain)
    grads = [torch.autograd.grad((g * target).sum(), logits)[0] for g in (ours, plain)]
    torch.testing.assert_close(*grads)


def test_gradient_saturates_relative_to_what_comes_in():
    # Equal logits far below the temperature at which the formula's gradient explodes.
    logits = torch.zeros(48, dtype=torch.double)
    logits += 1e-9 * torch.randn(48, dtype=torch.double)
    grads = []
    for scale in (1.0, 1e-3):
        x = logits.clone().requires_grad_()
        incoming = scale * torch.linspace(-1, 1, 48).double()
        (grad,) = torch.autograd.grad((relaxed_top_k(x, 36, 1e-6) * incoming).sum(), x)
        assert grad.abs().max() <= GRADIENT_BOUND * scale * 1.000001
        assert grad.abs().max() > 1e3 * scale
        grads.append(grad / scale)
    torch.testing.assert_close(*grads)


def test_overflow_of_the_loss_stays_visible():
    logits = torch.randn(8, requires_grad=True)
    (relaxed_top_k(logits, 3, 0.5) * float("inf")).sum().backward()
    assert not torch.isfinite(logits.grad).all()


def test_backward_may_run_more_than_once():
    logits = torch.randn(8, dtype=torch.double, requires_grad=True)
    gates = relaxed_top_k(logits, 3, 0.5)
    gates[:4].sum().backward(retain_graph=False)
    gates[4:].sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(8).double(), atol=1e-12, rtol=0)


def test_low_temperature_is_the_hard_top_k():
    logits = torch.randn(72, dtype=torch.double)
    for k in (1, 18, 71):
        torch.testing.assert_close(
            relaxed_top_k(logits, k, 1e-8), top_k_mask(logits, k).double(), rtol=0, atol=1e-9
        )


def test_single_gates_may_exceed_one():
    assert relaxed_top_k(torch.randn(72), 36, 1.0).max() > 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computed_in_double_whatever_comes_in(dtype):
    logits = torch.randn(48).to(dtype).requires_grad_()
    gates = relaxed_top_k(logits, 12, 1e-3)
    assert gates.dtype == dtype
    gates.float().pow(2).sum().backward()
    assert torch.isfinite(logits.grad).all()
    exact = relaxed_top_k(logits.detach().double(), 12, 1e-3)
    torch.testing.assert_close(gates.detach(), exact.to(dtype))


@pytest.mark.parametrize(("k", "t"), [(-1, 1.0), (9, 1.0), (3, 0.0), (3, -1.0), (3, float("nan"))])
def test_wrong_arguments_are_refused(k, t):
    with pytest.raises(ValueError, match=r"budget|temperature"):
        relaxed_top_k(torch.zeros(8), k, t)


def test_first_pick_follows_importance():
    # At K = 1 and t -> 0 the sample is one categorical draw: frequencies are softmax(importance).
    importance = torch.tensor([0.0, 1.0, 2.0])
    counts = torch.zeros(3, dtype=torch.double)
    draws = 3000
    for update in range(draws):
        counts += GumbelTopK()(importance, 1, 1e-8, gumbel_noise(3, 7, update)).round()
    expected = torch.softmax(importance.double(), 0) * draws
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 13.8  # 99.9 % quantile at 2 degrees of freedom
