"""Files that cannot be a model's weights are refused, by fairseq's loading and by our tools."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from saved_models import read_head_map

from dsp_fairseq.checkpoints.validation import check_tensors
from dsp_fairseq.errors import CommandExit, PruningError

FC1 = "encoder.layers.0.fc1.weight"
Q = "decoder.layers.1.encoder_attn.q_proj.weight"


@pytest.fixture
def save(tmp_path, arguments):
    def save_state(state, num_of_heads=6, **flags):
        path = tmp_path / "checkpoint.pt"
        config = arguments(num_of_heads, **flags)
        torch.save({"args": None, "cfg": {"model": config}, "model": state}, path)
        return path

    return save_state


BROKEN = {
    "a weight is nan": ({FC1: lambda t: t.index_fill(0, torch.tensor(3), float("nan"))}, "finite"),
    "a weight is infinite": ({FC1: lambda t: t / 0.0}, "not finite, in encoder.layers.0.fc1"),
    "importance is nan": ({"head_gates.importance": lambda t: t * float("nan")}, "not finite"),
    "the mask is nan": ({"head_gates.mask": lambda t: t * float("nan")}, "not finite"),
    "importance of another shape": (
        {"head_gates.importance": lambda t: t.view(4, 6)},
        "importance",
    ),
    "a mask of 7 heads at K = 6": (
        {"head_gates.mask": lambda t: torch.cat([torch.ones(7), torch.zeros(17)])},
        "mask keeps 7 heads, and it is frozen at 6",
    ),
    "half a mask": ({"head_gates.mask": lambda t: t / 2}, "other values than 0 and 1"),
    "half frozen": ({"head_gates.frozen": lambda t: t / 2}, "is half frozen"),
    "budgets for 30 heads": ({"head_gates.budgets": lambda t: torch.ones(31)}, "budgets"),
    "budgets of nothing": ({"head_gates.budgets": lambda t: t * 0}, "says no number of heads"),
    "budgets of nothing before the freeze": (
        {"head_gates.budgets": lambda t: t * 0, "head_gates.frozen": lambda t: t * 0},
        "says no number of heads",
    ),
    "a mask of format 1 with more than all heads": (
        {"head_gates.mask": lambda t: t + 1, "head_gates.format": lambda t: t * 0 + 1},
        "its mask keeps more heads than there are",
    ),
    "another width of attention": ({Q: lambda t: t[:12]}, r"q_proj.* is \[12, 16\]"),
    "a weight that is a number": ({FC1: lambda t: 3.0}, "is no tensor"),
    "a sparse weight": ({FC1: lambda t: t.to_sparse()}, "no plain tensor"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_both_ways_of_loading_refuse_what_is_broken(frozen, build, save, name):
    changes, message = BROKEN[name]
    state = {**frozen, **{key: change(frozen[key]) for key, change in changes.items()}}
    path = save(state)
    with pytest.raises(PruningError, match=message) as ours:
        read_head_map(path)
    assert str(path) in str(ours.value)
    with pytest.raises(CommandExit, match=message) as fairseqs:
        build(6).load_state_dict(state)
    assert not {"\n"} & {*str(ours.value), *str(fairseqs.value)}


def test_what_is_sound_loads_both_ways(frozen, build, save):
    assert read_head_map(save(frozen)).budget == 6
    assert build(6).load_state_dict(dict(frozen))
    # fairseq never initialises these.
    check_tensors({"adaptive_softmax._float_tensor": torch.tensor([float("nan")])}, "x")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"encoder_ffn_embed_dim": 64}, r"fc1.weight is \[32, 16\] in it and \[64, 16\] here"),
        ({"encoder_learned_pos": True}, "it lacks encoder.embed_positions.weight"),
        ({"encoder_layers": 1}, "has 24 heads, this model 20 heads"),
        ({"layernorm_embedding": True}, "it lacks encoder.layernorm_embedding.weight and 3 more"),
    ],
)
def test_another_architecture_is_named_by_its_difference(frozen, build, flags, message):
    model = build(6, **flags)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CommandExit, match=message) as stop:
        model.load_state_dict(dict(frozen))
    assert "\n" not in str(stop.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_that_are_left_over_are_named(frozen, build):
    with pytest.raises(CommandExit, match=r"it has besides encoder\.extra"):
        build(6).load_state_dict({**frozen, "encoder.extra": torch.zeros(2)})


@pytest.mark.parametrize("value", ["four", None, [4]])
def test_a_configuration_that_makes_no_sense(frozen, save, value):
    with pytest.raises(PruningError, match="numbers of layers or heads are invalid"):
        read_head_map(save(frozen, encoder_layers=value))


def test_a_namespace_is_no_state_dict(tmp_path):
    torch.save({"model": Namespace(), "cfg": {"model": {}}}, tmp_path / "x.pt")
    with pytest.raises(PruningError, match="no weights under 'model'"):
        read_head_map(tmp_path / "x.pt")
