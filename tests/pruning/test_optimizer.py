"""dsp_adam: importance has its own learning rate, clipping and end."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer
from omegaconf import OmegaConf

from dsp_fairseq.errors import CommandExit
from dsp_fairseq.pruning.optimizer import DspAdam, DspAdamConfig, mark_importance


def _optimizer(model, **settings):
    config = {
        "adam_betas": "(0.9, 0.98)",
        "adam_eps": 1e-8,
        "weight_decay": 0.1,
        "use_old_adam": False,
        "fp16_adam_stats": False,
        "tpu": False,
        "lr": [1e-3],
        "pruning_lr": 0.2,
        "pruning_clip_norm": 1.0,
        **settings,
    }
    return DspAdam(SimpleNamespace(**config), model.parameters())


def _backward(model, batch):
    model.train()
    model(**batch)[0].pow(2).sum().backward()


@pytest.mark.parametrize("scale", [1.0, 128.0, 65536.0])
def test_amp_undoes_the_scale_of_the_loss_once(monkeypatch, scale):
    """fairseq's --amp, with PyTorch's scaler on the CPU: steps and clipping know no scale."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr("torch.cuda.amp.GradScaler", lambda **flags: scaler("cpu", **flags))
    weight = torch.nn.Parameter(torch.zeros(3))
    importance = torch.nn.Parameter(torch.zeros(4))
    mark_importance(importance)
    common = {"fp16_init_scale": scale, "amp_scale_window": None, "min_loss_scale": 1e-4}
    config = {
        "optimizer": {**vars(DspAdamConfig()), "_name": "dsp_adam"},
        "common": {**common, "tpu": False, "fp16": False},
        "optimization": {"lr": [1e-3]},
    }
    config["optimizer"].update(lr=[1e-3], tpu=False, pruning_lr=0.2, pruning_clip_norm=1.0)
    optimizer = AMPOptimizer.build_optimizer(OmegaConf.create(config), [weight, importance])
    optimizer.set_lr(1e-3)

    def step(gradient):
        optimizer.zero_grad()
        loss = (weight * torch.tensor([gradient, 1e-4, 1.0])).sum()
        optimizer.backward(loss + (importance * torch.tensor([3.0, 4.0, 0.0, 0.0])).sum())
        optimizer.clip_grad_norm(0.0)
        optimizer.step()

    step(1e-5)
    # Adam's first step is the learning rate, but for epsilon.
    steps = [-1e-3 / (1 + 1e-8 / (math.sqrt(1e-3) * g)) for g in (1e-5, 1e-4, 1.0)]
    assert weight.tolist() == pytest.approx(steps, rel=1e-4)
    assert importance.grad.norm() == pytest.approx(1.0, rel=1e-4)
    before = weight.tolist()
    step(math.inf)
    assert weight.tolist() == before
    assert optimizer.scaler.get_scale() == scale / 2


def test_no_scheduler_touches_the_pruning_lr(build):
    optimizer = _optimizer(build(6))
    optimizer.set_lr(0.01)
    assert optimizer.get_lr() == 0.01
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.2]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_resuming_takes_the_flags_and_not_the_stored_rate(build, batch):
    model = build(6)
    old = _optimizer(model, pruning_lr=0.2)
    _backward(model, batch)
    old.step()
    new = _optimizer(model, pruning_lr=0.05)
    new.load_state_dict(old.state_dict(), {"lr": 7.0, "weight_decay": 0.3})
    assert [group["lr"] for group in new.param_groups] == [7.0, 0.05]
    assert [group["weight_decay"] for group in new.param_groups] == [0.3, 0.0]


def test_importance_is_clipped_apart(build, batch):
    model = build(6)
    optimizer = _optimizer(model, pruning_clip_norm=0.5)
    _backward(model, batch)
    importance = model.head_gates.importance
    importance.grad.mul_(1e4)
    before = model.encoder.layers[0].fc1.weight.grad.clone()
    norm = optimizer.clip_grad_norm(0.0)
    optimizer.step()
    assert importance.grad.norm().item() == pytest.approx(0.5, rel=1e-3)
    assert torch.equal(before, model.encoder.layers[0].fc1.weight.grad)
    weights = [p.grad for p in model.parameters() if p is not importance and p.grad is not None]
    assert norm.item() == pytest.approx(torch.cat([g.flatten() for g in weights]).norm().item())


def test_a_broken_importance_gradient_is_reported(build, batch):
    model = build(6)
    optimizer = _optimizer(model)
    _backward(model, batch)
    model.head_gates.importance.grad[0] = float("nan")
    with pytest.raises(CommandExit, match="the gradient of importance is not finite"):
        optimizer.clip_grad_norm(0.0)
    # A scaler of 16-bit gradients has its turn first, and looks at the norm.
    model.watch.scaled = True
    assert not torch.isfinite(optimizer.clip_grad_norm(0.0))


def test_frozen_importance_does_not_move_even_if_gradients_are_zeros(build, batch):
    model = build(6, freeze_heads_after=1)
    optimizer = _optimizer(model)
    _backward(model, batch)
    optimizer.step()
    optimizer.zero_grad()
    model.set_num_updates(1)
    _backward(model, batch)
    assert model.head_gates.is_frozen
    frozen = model.head_gates.importance.detach().clone()
    for _ in range(3):
        # Some wrappers turn an absent gradient into zeros; momentum would then act.
        model.head_gates.importance.grad = torch.zeros(24)
        optimizer.step()
    assert torch.equal(frozen, model.head_gates.importance)


@pytest.mark.parametrize("scale", [1.0, 128.0])
def test_half_precision_clips_true_gradients_and_stops_at_the_freeze(build, batch, scale):
    model = build(6, freeze_heads_after=1)
    importance = model.head_gates.importance
    weights = torch.nn.Parameter(torch.zeros(3))
    copies = FP16Optimizer.build_fp32_params(None, [weights, importance], flatten=False)
    weights, copy = copies
    optimizer = _optimizer(torch.nn.ParameterList(copies))
    weights.grad, copy.grad = torch.ones(3) * scale, torch.ones(24) * scale
    optimizer.clip_grad_norm(0.0)
    optimizer.step(scale=scale)
    assert copy.grad.norm().item() == pytest.approx(1.0, rel=1e-3)
    assert weights.grad.tolist() == [1, 1, 1]
    frozen = copy.detach().clone()
    assert frozen.abs().max() > 0.1
    model.set_num_updates(1)
    _backward(model, batch)
    copy.grad = torch.zeros(24)
    optimizer.step()
    assert torch.equal(copy, frozen)


def test_negative_rates_are_refused(build):
    with pytest.raises(CommandExit, match="--pruning-lr"):
        _optimizer(build(6), pruning_lr=-1.0)
    with pytest.raises(CommandExit, match=r"--pruning-lr and .* finite"):
        _optimizer(build(6), pruning_lr=float("inf"))


def test_weights_do_not_move_while_importance_is_trained_alone(build, batch):
    model = build(6, pruning_mode="pipelined", freeze_heads_after=5)
    model.load_state_dict(model.state_dict())
    optimizer = _optimizer(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    _backward(model, batch)
    # As wrappers of several processes leave it.
    for parameter in model.encoder.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert optimizer.clip_grad_norm(0.0) == 0
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"head_gates.importance"}
    assert not optimizer.optimizer.state[model.encoder.layers[0].fc1.weight]


def test_gradients_of_zeros_leave_no_trace_before_importance_learns(build, batch):
    model = build(6, gates_after=2)
    optimizer, importance = _optimizer(model), model.head_gates.importance
    for update in range(2):
        model.set_num_updates(update)
        optimizer.zero_grad()
        _backward(model, batch)
        # As wrappers of several processes leave it.
        importance.grad = torch.zeros(24)
        optimizer.clip_grad_norm(0.0)
        optimizer.step()
    assert importance.abs().max() == 0
    assert not optimizer.optimizer.state[importance]
    model.set_num_updates(2)
    _backward(model, batch)
    optimizer.step()
    assert importance.abs().max() > 0
    assert optimizer.optimizer.state[importance]["step"] == 1
