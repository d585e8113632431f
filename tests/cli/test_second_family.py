"""A model family that the package does not know: trained, frozen, shown, exported, averaged."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from saved_models import read_head_map

from dsp_fairseq.cli import average, export, heads, prune

FAMILY = Path(__file__).parents[1] / "second_family"
BUDGET = 3


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """Sentences of numbers, each followed by its successor."""
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(1)
    for split, lines in (("train", 200), ("valid", 20)):
        starts = [draw.randrange(20) for _ in range(lines)]
        sentences = (" ".join(f"n{start + i}" for i in range(8)) for start in starts)
        (folder / split).write_text("\n".join(sentences) + "\n")
    return folder


@pytest.fixture
def train(run, text, tmp_path):
    """A training of 2 layers of 4 heads, frozen at 3 heads half way; it ends at update 8."""
    data = tmp_path / "data"
    made = run(
        *("preprocess", "--only-source", "--trainpref", text / "train"),
        *("--validpref", text / "valid", "--destdir", data, "--workers", "1"),
    )
    assert made.status == 0, made.log
    return lambda folder, *flags: run(
        *("train", data, "--user-dir", FAMILY, "--task", "masked_lm", "--arch", "dsp_second"),
        *("--criterion", "dsp_masked_lm", "--optimizer", "dsp_adam", "--num-of-heads", BUDGET),
        *("--cooldown-steps", "4", "--max-update", "8", "--save-interval-updates", "2"),
        *("--encoder-layers", "2", "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "32"),
        *("--encoder-attention-heads", "4", "--batch-size", "16", "--lr", "1e-3", "--cpu"),
        *("--tokens-per-sample", "16", "--sample-break-mode", "complete", "--num-workers", "0"),
        *("--lr-scheduler", "fixed", "--save-dir", folder, "--dropout", "0"),
        *("--log-format", "simple", "--log-interval", "1", *flags),
    )


@pytest.fixture
def trained(train, tmp_path) -> Path:
    """Where it was trained."""
    outcome = train(tmp_path / "run")
    assert outcome.status == 0, outcome.message or outcome.log
    return tmp_path / "run"


def _logits(path: Path, user_dir: bool = True) -> torch.Tensor:
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    model = models[0].eval()
    assert type(model).__name__ == ("SecondModel" if user_dir else "RobertaModel")
    tokens = torch.arange(4, 20).view(2, 8)
    with torch.no_grad():
        return model(tokens)[0]


def test_the_tools_work_on_a_family_that_they_do_not_know(trained, tmp_path, capsys):
    last = trained / "checkpoint_last.pt"
    kept = read_head_map(last)
    assert (kept.frozen, kept.budget, int(kept.mask.sum())) == (True, BUDGET, BUDGET)
    assert kept.layout.num_heads == 8
    user_dir = ("--user-dir", str(FAMILY))
    heads.main([str(last), *user_dir])
    assert "encoder.self" in capsys.readouterr().out

    logits = _logits(last)
    for form, gated in (("pruned", True), ("fairseq", False)):
        output = tmp_path / f"{form}.pt"
        export.main([str(last), "--format", form, "--output", str(output), *user_dir])
        torch.testing.assert_close(_logits(output, gated), logits, atol=1e-5, rtol=1e-5)
    weights = torch.load(tmp_path / "pruned.pt", weights_only=True)["model"]
    rows = sum(v.size(0) for name, v in weights.items() if name.endswith("q_proj.weight"))
    assert rows == BUDGET * 8

    mean = tmp_path / "mean.pt"
    inputs = [str(trained / name) for name in ("checkpoint_1_6.pt", "checkpoint_1_8.pt")]
    average.main([*inputs, "--output", str(mean), *user_dir])
    assert read_head_map(mean).kept == kept.kept


def test_a_teacher_of_masked_tokens(trained, train, tmp_path):
    last = trained / "checkpoint_last.pt"
    flags = ("--distill-from", last, "--distill-weight", "1", "--max-update", "3")
    outcome = train(tmp_path / "taught", *flags, "--finetune-from-model", last)
    assert outcome.status == 0, outcome.message or outcome.log
    values = [float(value) for value in re.findall(r"\bdistill=([\d.]+)", outcome.log)]
    assert len(values) == 3
    assert values[0] == 0, "it starts as what it learns from"
    assert outcome.log.count("dsp_second), weight 1") == 1


def test_it_is_pruned_without_training_and_repaired(train, tmp_path, capsys):
    assert train(tmp_path / "dense", "--num-of-heads", "8").status == 0
    dense = tmp_path / "dense/checkpoint_last.pt"

    def error(name, *flags):
        output = tmp_path / name
        prune.main(
            [
                *(str(dense), "--data", str(tmp_path / "data"), "--num-of-heads", str(BUDGET)),
                *("--user-dir", str(FAMILY), "--output", str(output), "--max-tokens", "256"),
                *("--cpu", "--format", "fairseq", *flags),
            ]
        )
        return float((_logits(output, False) - _logits(dense)).square().mean())

    closed, repaired = error("closed.pt", "--no-repair"), error("repaired.pt")
    assert "method:fisher|repair:" in capsys.readouterr().out
    assert 0 < repaired < closed
