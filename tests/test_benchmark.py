"""The benchmarks: configurations of both sides, and every command at its smallest size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import benchmark  # noqa: E402


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "flags", "sides"),
    [
        (
            "bench_generation.py",
            "--shape iwslt --num-of-heads 18 --masks even --sentences 2 --beam 2 --length 2 "
            "--vocabulary 50 --ctranslate2",
            ["dense", "masked", "frozen", "exported", "none", "ct2 pruned int8", "ideal"],
        ),
        (
            "bench_training.py",
            "--shape tiny --num-of-heads 12 --tokens 64 --vocabulary 50",
            ["stock", "gated", "frozen"],
        ),
        ("bench_estimators.py", "--heads 8", ["gumbel", "sigmoid"]),
    ],
)
def test_the_commands_of_the_speed_and_methods_pages(tmp_path, script, flags, sides):
    command = [sys.executable, SCRIPTS / script, *flags.split(), "--repeats", "1", "--threads", "1"]
    done = subprocess.run(
        [*command, "--json", tmp_path / "figures.json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for side in sides:
        assert side in done.stdout
    assert (tmp_path / "figures.json").is_file()
