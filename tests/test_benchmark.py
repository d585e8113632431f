"""The benchmarks: both sides have one shape. Their commands run with those of the documentation."""

from __future__ import annotations

import sys

import pytest
from documentation import ROOT

SCRIPTS = ROOT / "scripts"
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


def test_figures_that_are_there_are_not_overwritten(tmp_path, capsys):
    path = tmp_path / "figures.json"
    path.touch()
    with pytest.raises(SystemExit):
        benchmark.parser("", 1).parse_args(["--json", str(path)])
    assert "exists: remove it or give another --json" in capsys.readouterr().err
    benchmark.write_json(tmp_path / "new/figures.json", [1])
    assert (tmp_path / "new/figures.json").exists()


def test_a_training_in_the_current_folder_is_none_of_theirs(tmp_path, monkeypatch):
    """fairseq's default folder, with a checkpoint of another budget, or none that can be read."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/checkpoint_last.pt").write_text("")
    monkeypatch.chdir(tmp_path)
    config = benchmark.configure("tiny", True, "--num-of-heads", "12")
    task = benchmark.make_task(config, benchmark.make_dictionary(100))
    list(task.build_model(config.model).parameters())
