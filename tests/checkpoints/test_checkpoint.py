"""Checkpoints load without running code from them, also as several processes exchange them."""

from __future__ import annotations

import argparse
import io
import os

import numpy as np
import pytest
import torch
from fairseq.distributed.utils import _TensorPlaceholder
from omegaconf import OmegaConf


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
