"""What fairseq stores of a tiny model."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

SHAPE = (
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "no_cross_attention",
    "num_of_heads",
    "keep_at_least",
)


def stored_config(model, **more: Any) -> Namespace:
    own = {name: getattr(model.args, name) for name in SHAPE if hasattr(model.args, name)}
    return Namespace(_name="dsp_transformer_tiny", **{**own, **more})
