"""What fairseq stores of a tiny model."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.cli import heads
from dsp_fairseq.heads.head_map import HeadMap
from dsp_fairseq.heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF
from dsp_fairseq.models.transformer import DspTransformerModel

SHAPE = (
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "no_cross_attention",
    "num_of_heads",
    "keep_at_least",
    "keep_at_most",
    "head_costs",
    "cost_budget",
)


def stored_weights(path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    return torch.load(path, weights_only=True)["model"]


def read_head_map(path: Path, num_of_heads: int | str | None = None) -> HeadMap:
    """Which heads a checkpoint keeps."""
    return load_checkpoint(path).head_map(num_of_heads)


def stored_config(model, **more: Any) -> Namespace:
    own = {name: getattr(model.args, name) for name in SHAPE if hasattr(model.args, name)}
    return Namespace(_name="dsp_transformer_tiny", **{**own, **more})


def printed_heads(capsys, *argv: Any) -> str:
    """What ``dsp-heads`` prints."""
    heads.main([str(arg) for arg in argv])
    return capsys.readouterr().out


class PickledCode:
    """Whoever unpickles it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


CASES = {
    "plain": {},
    "not frozen": {"frozen": False},
    "no head": {"k": 0},
    "all heads": {"k": 24},
    "one kind only": {"k": 5, "kinds": [ENCODER_SELF]},
    "no encoder heads": {"k": 9, "kinds": [DECODER_SELF, DECODER_CROSS]},
    "no cross heads": {"k": 9, "kinds": [ENCODER_SELF, DECODER_SELF]},
    "unequal": {"k": 7, "encoder_attention_heads": 2, "decoder_attention_heads": 8},
    "tied": {"share_all_embeddings": True},
    "prenorm": {"encoder_normalize_before": True, "decoder_normalize_before": True},
}
"""Arguments of the fixture ``checkpoint``: the models that every export format has to hold."""


def rebuild(path, task):
    """The model that a file of an export builds."""
    state = torch.load(path, weights_only=True)
    model = DspTransformerModel.build_model(state["cfg"]["model"], task)
    model.load_state_dict(state["model"])
    return model.eval()
