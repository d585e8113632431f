"""What the benchmarks share: configurations of both sides, without any data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import benchmark


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("shape", list(benchmark.SHAPES))
def test_both_sides_have_one_shape(shape, gated):
    budget = ["--num-of-heads", "12"] if gated else []
    config = benchmark.configure(shape, gated, *budget)
    task = benchmark.make_task(config, benchmark.make_dictionary(100))
    other = benchmark.configure(shape, not gated, *([] if gated else ["--num-of-heads", "12"]))
    for name in ("encoder_layers", "encoder_embed_dim", "decoder_attention_heads"):
        assert getattr(config.model, name) == getattr(other.model, name)
    assert len(task.source_dictionary) == 100
