"""Shared fixtures: tiny models without data."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import quick_hydra
import torch
import yaml
from fairseq.data import Dictionary
from fairseq.models import build_model
from fairseq.models.transformer import TransformerModel
from saved_models import stored_config
from warm_commands import WarmCommands, WarmServer

import dsp_fairseq  # noqa: F401
from dsp_fairseq.checkpoints.weights import slice_weights
from dsp_fairseq.experiments.recipe import load_recipe
from dsp_fairseq.heads.layout import parse_kept_heads
from dsp_fairseq.models.transformer import DspTransformerModel

quick_hydra.install()

TINY = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_embed_dim": 16,
    "decoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 32,
    "decoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "dropout": 0.0,
    "initial_temperature": 0.5,
    "final_temperature": 0.1,
    "cooldown_steps": 10,
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Some commands make fairseq quiet for the rest of their process."""
    logger = logging.getLogger("fairseq")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def warm_server(tmp_path_factory) -> Iterator[WarmServer]:
    """It has imported PyTorch and fairseq."""
    server = WarmServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def commands(warm_server, tmp_path_factory) -> WarmCommands:
    """Commands that need not import PyTorch and fairseq."""
    return WarmCommands(tmp_path_factory.mktemp("commands"), warm_server)


@pytest.fixture
def warm(commands, monkeypatch) -> WarmCommands:
    """What this test starts are these commands."""
    monkeypatch.setattr(sys, "executable", str(commands.python))
    for name, value in commands.environment.items():
        monkeypatch.setenv(name, value)
    return commands


@pytest.fixture(scope="session")
def task() -> SimpleNamespace:
    """As much of a translation task as building a model needs."""
    dictionary = Dictionary()
    for i in range(20):
        dictionary.add_symbol(f"w{i}")
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    task.build_model = lambda args: build_model(args, task)
    return task


@pytest.fixture
def arguments():
    """The arguments of a tiny gated model: 2+2 layers of 4 heads, 24 heads in all."""
    return lambda num_of_heads=24, **flags: Namespace(
        **{**TINY, "arch": "dsp_transformer", "num_of_heads": num_of_heads, **flags}
    )


@pytest.fixture
def build(task, arguments):
    """Builds a tiny gated model: 2+2 layers of 4 heads, 24 heads in all."""

    def build_model(num_of_heads: Any = 24, **flags: Any) -> DspTransformerModel:
        return DspTransformerModel.build_model(arguments(num_of_heads, **flags), task)

    return build_model


@pytest.fixture
def build_stock(task):
    """Builds fairseq's own transformer in the same shape."""
    return lambda **flags: TransformerModel.build_model(Namespace(**{**TINY, **flags}), task)


@pytest.fixture
def batch(task) -> dict[str, torch.Tensor]:
    """Three sentence pairs of different lengths, padded as fairseq pads them."""
    pad, eos = task.source_dictionary.pad(), task.source_dictionary.eos()
    source = torch.randint(4, 24, (3, 7))
    source[:, -1] = eos
    source[1, :2] = pad
    source[2, :4] = pad
    previous = torch.randint(4, 24, (3, 6))
    previous[:, 0] = eos
    previous[1, 4:] = pad
    return {
        "src_tokens": source,
        "src_lengths": source.ne(pad).sum(1),
        "prev_output_tokens": previous,
    }


RECIPE_FLAGS = {
    "arch": "dsp_transformer_tiny",
    "criterion": "dsp_label_smoothed_cross_entropy",
    "optimizer": "dsp_adam",
    "lr": "3e-3",
    "max-tokens": 1000,
    "max-update": 10,
    "share-all-embeddings": True,
}


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe and reads it."""

    def make(name="base", **content):
        path = tmp_path / f"{name}.yaml"
        defaults = {"name": name, "data": "data/x", "train": RECIPE_FLAGS}
        path.write_text(yaml.safe_dump({**defaults, **content}))
        return load_recipe(path)

    return make


@pytest.fixture
def save(tmp_path) -> Callable[..., Path]:
    """Writes a model as fairseq does; ``config`` and ``weights`` change what is stored."""

    def save_model(model, config: Any = None, **weights: Any) -> Path:
        state = {k: v for k, v in {**model.state_dict(), **weights}.items() if v is not None}
        path = tmp_path / "checkpoint.pt"
        config = stored_config(model) if config is None else config
        torch.save({"args": None, "cfg": {"model": config}, "model": state}, path)
        return path

    return save_model


@pytest.fixture
def gated(build):
    """A model of 24 heads with drawn importance, frozen or not."""

    def build_gated(num_of_heads: Any = 6, frozen: bool = False, **flags: Any):
        model = build(num_of_heads, **flags).train()
        gates = model.head_gates
        with torch.no_grad():
            gates.importance.copy_(torch.randn(gates.layout.num_heads))
        if frozen:
            model.set_num_updates(100)
            gates.begin_forward()
            assert gates.is_frozen
        return model

    return build_gated


@pytest.fixture
def exported(gated, save) -> Callable[[Any], Path]:
    """A model without gates, whose config says which heads are left."""

    def save_exported(kept_heads: Any) -> Path:
        model = gated()
        weights = {f"head_gates.{name}": None for name in model.head_gates.state_dict()}
        layout = model.head_gates.layout
        with suppress(ValueError):
            mask = layout.mask(parse_kept_heads(kept_heads, layout))
            weights |= slice_weights(model.state_dict(), layout, mask)
        return save(model, stored_config(model, kept_heads=kept_heads), **weights)

    return save_exported


@pytest.fixture
def checkpoint(arguments, task, tmp_path):
    """Builds a model, fixes which heads it keeps, and writes it as fairseq-train would."""

    def make(k=6, *, frozen=True, kinds=None, **flags):
        args = arguments(str(k), **flags)
        model = DspTransformerModel.build_model(args, task)
        gates = model.head_gates
        with torch.no_grad():
            gates.importance.normal_()
            if kinds is not None:
                gates.importance.fill_(-9.0)
                for kind in kinds:
                    indices = gates.layout.indices(kind)
                    gates.importance[indices] = torch.randn(len(indices))
            if frozen and not gates.is_constant:
                gates.mask.copy_(gates.open_mask())
                gates.frozen.fill_(1.0)
        gates.after_load()
        model.eval()
        path = tmp_path / "checkpoint.pt"
        state = {
            "args": None,
            "cfg": {"model": args, "criterion": {"_name": "x"}, "optimizer": {"_name": "dsp_adam"}},
            "model": model.state_dict(),
            "optimizer_history": [{"num_updates": 7}],
            "extra_state": {"train_iterator": {"epoch": 1}, "best": 4.2},
            "last_optimizer_state": {"state": {0: torch.zeros(100000)}},
        }
        torch.save(state, path)
        return model, path

    return make
