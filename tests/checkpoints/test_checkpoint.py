"""Checkpoints load without running code from them, also as several processes exchange them."""

from __future__ import annotations

import argparse
import io
import os
from argparse import Namespace

import numpy as np
import pytest
import torch
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from omegaconf import OmegaConf
from saved_models import read_head_map, stored_config

from dsp_fairseq.checkpoints.checkpoint import Checkpoint, load_checkpoint, peek
from dsp_fairseq.errors import PruningError
from dsp_fairseq.heads.family import family_of


class _Evil:
    def __reduce__(self):
        return os.system, ("echo ran",)


def _round_trip(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_what_a_translation_checkpoint_holds():
    config = OmegaConf.create(
        {"model": argparse.Namespace(num_of_heads="6"), "lr": [0.1]}, flags={"allow_objects": True}
    )
    state = {
        "cfg": config,
        "best": np.float64(1.5),
        "counts": np.arange(3),
        "tensor": _TensorPlaceholder(0),
    }
    loaded = _round_trip(state)
    assert loaded["cfg"].model.num_of_heads == "6"
    assert loaded["best"] == 1.5


def test_anything_that_would_run_is_refused(capfd):
    with pytest.raises(Exception, match="system"):
        _round_trip({"model": _Evil()})
    assert "ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"encoder_attention_heads": 2, "decoder_attention_heads": 8},
        {"encoder_layers": 3, "decoder_layers": 1},
        {"no_cross_attention": True},
    ],
    ids=str,
)
def test_layout_from_the_config_is_the_models_own(gated, save, flags):
    model = gated(**flags)
    own = model.head_gates.layout
    config = stored_config(model)
    for args in (config, vars(config), OmegaConf.create(vars(config))):
        layout = family_of(args).layout(args)
        assert (layout.sites, layout.heads) == (own.sites, own.heads)
    assert str(read_head_map(save(model)).layout) == str(own)


def test_fields_that_hydra_leaves_out_come_from_the_architecture(gated, save):
    tiny = {"encoder_layers": 4, "decoder_layers": 4}
    config = {"_name": "dsp_transformer_tiny", "num_of_heads": 3}
    path = save(gated(3, **tiny), config)
    head_map = read_head_map(path)
    assert str(head_map.layout) == str(gated(3, **tiny).head_gates.layout)
    assert head_map.layout.num_heads == 48


def test_flags_under_args_as_old_checkpoints_have_them(gated, tmp_path):
    model = gated(6)
    path = tmp_path / "old.pt"
    torch.save({"args": stored_config(model), "model": model.state_dict()}, path)
    assert read_head_map(path).budget == 6


def test_kept_heads_left_empty_is_no_export(exported):
    with pytest.raises(PruningError, match="no head importance"):
        read_head_map(exported(""))


def test_a_dense_checkpoint(build_stock, save):
    config = Namespace(_name="transformer", encoder_layers=2)
    with pytest.raises(PruningError, match=r"no head importance.* but of transformer$"):
        read_head_map(save(build_stock(), config))


def test_an_architecture_that_is_not_known(gated, save):
    config = {"_name": "mine", "num_of_heads": 6, "encoder_layers": 2}
    with pytest.raises(PruningError, match=r"mine is not of a known model family: .*transformer"):
        read_head_map(save(gated(), config))


def test_an_architecture_that_leaves_numbers_open(gated, save, monkeypatch):
    monkeypatch.setitem(ARCH_MODEL_NAME_REGISTRY, "mine", "dsp_transformer")
    config = {"_name": "mine", "num_of_heads": 6, "encoder_layers": 2}
    with pytest.raises(PruningError, match="does not say its model's encoder_attention_heads"):
        read_head_map(save(gated(), config))


@pytest.fixture
def state(arguments, build):
    """What fairseq-train writes, as far as the tools ask for it."""
    return {
        "args": None,
        "cfg": {
            "model": arguments(6),
            "task": Namespace(_name="translation", source_lang="en"),
            "common": {"seed": 3},
            "checkpoint": None,
        },
        "model": build(6).state_dict(),
        "optimizer_history": [{"num_updates": 5}, {"num_updates": 7}],
        "extra_state": {"train_iterator": {"epoch": 2}, "best": 4.2},
        "last_optimizer_state": {"state": {}},
    }


def test_the_configuration_by_groups_whatever_holds_them(state, tmp_path):
    checkpoint = Checkpoint(tmp_path / "x.pt", state)
    assert checkpoint.config("task")["source_lang"] == "en"
    assert checkpoint.config("common") == {"seed": 3}
    assert checkpoint.config("checkpoint") == checkpoint.config("none") == {}
    old = {**state, "args": Namespace(seed=4, **vars(state["cfg"]["model"])), "cfg": None}
    assert Checkpoint(tmp_path / "x.pt", old).config("common")["seed"] == 4


def test_updates_and_gates(state, tmp_path, build_stock):
    checkpoint = Checkpoint(tmp_path / "x.pt", state)
    assert (checkpoint.updates, checkpoint.has_gates, checkpoint.lacks_heads) == (7, True, False)
    assert checkpoint.without_gates().keys() == build_stock().state_dict().keys()
    nameless = {**state, "optimizer_history": None}
    assert Checkpoint(tmp_path / "x.pt", nameless).updates == 0


def test_a_derived_checkpoint_shares_nothing_that_may_change(state, tmp_path):
    source = Checkpoint(tmp_path / "x.pt", state)
    source.state["cfg"]["model"].encoder_embed_path = "gone.txt"
    derived = source.derive(tmp_path / "y.pt", {"weight": torch.ones(2)})
    assert derived.state["cfg"]["model"].encoder_embed_path is None
    assert derived.state["extra_state"] == {"train_iterator": {"epoch": 2}}
    assert "last_optimizer_state" not in derived.state
    derived.state["cfg"]["model"].num_of_heads = "9"
    derived.state["cfg"]["common"]["seed"] = 9
    assert source.state["cfg"]["model"].num_of_heads == 6
    assert source.config("common") == {"seed": 3}
    derived.save(tmp_path / "y.pt")
    for read in (load_checkpoint, peek):
        assert read(tmp_path / "y.pt").weights["weight"].tolist() == [1.0, 1.0]


def test_a_full_disk_is_named_by_the_final_name(state, tmp_path, monkeypatch):
    def fail(content, file):
        raise RuntimeError("unexpected pos")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(PruningError, match=r"cannot write .*x\.pt: the disk is full"):
        Checkpoint(tmp_path / "x.pt", state).save(tmp_path / "part")
