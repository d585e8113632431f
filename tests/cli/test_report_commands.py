"""dsp-report on what fairseq's own commands leave: real logs, outputs and kept heads."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from sacrebleu.metrics import BLEU, CHRF
from saved_models import read_head_map

from dsp_fairseq.cli import report as report_command
from dsp_fairseq.evaluation.generated import read_generated


def _score(hypotheses, references) -> dict:
    scores = {}
    for name, metric in (("sacrebleu", BLEU(tokenize="none", force=True)), ("chrf", CHRF())):
        score = metric.corpus_score(hypotheses, [references]).score
        scores[name] = {"score": round(score, 2), "signature": str(metric.get_signature())}
    return scores


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Writes the log in the format of fairseq-train."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


@pytest.fixture
def sweep(train, generate, tmp_path) -> Path:
    """Two runs of 10 updates, one dense and one with 6 of 24 heads, and their lines."""
    lines = []
    for method, k in (("dense", 24), ("gumbel", 6)):
        name = f"{method}-k{k}"
        folder = tmp_path / "sweep" / name
        folder.mkdir(parents=True)
        with logged(folder / "train.log"):
            flags = ("--num-of-heads", str(k), "--log-format", "json")
            assert train(folder, *flags).status == 0
        (folder / "test.out").write_text(generate(folder / "checkpoint_last.pt").out)
        heads = read_head_map(folder / "checkpoint_last.pt")
        kept: dict[str, list] = {}
        for site, numbers in heads.kept.items():
            kept.setdefault(site.kind, []).append(numbers)
        weights = torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]
        scores = _score(*read_generated(folder / "test.out"))
        line = {
            **{"id": name, "recipe": "toy", "method": method, "budget": k, "num_heads": 24},
            **{"seed": 1, "folder": name, "train_seconds": 9.0, "tokens_per_second": 100.0},
            "parameters": sum(tensor.numel() for tensor in weights.values()),
            "scores": {"valid": scores, "test": scores},
            **{"kept": kept, "heads_per_layer": dict.fromkeys(kept, 4)},
        }
        lines.append(json.dumps(line) + "\n")
    (tmp_path / "sweep/runs.jsonl").write_text("".join(lines))
    return tmp_path / "sweep"


def test_a_report_of_real_runs(sweep, tmp_path, capsys):
    report_command.main([str(sweep), "--output", str(tmp_path / "report")])
    assert "report.html, report.md and 3 figures" in capsys.readouterr().out
    text = (tmp_path / "report/report.md").read_text()
    assert "| gumbel | 6 of 24 | 1 |" in text
    assert "Fewer than three seeds: no ranking of gumbel at 6 heads (1)." in text
    assert "toy-training.png" in text
    assert "What is missing" not in text


def test_what_a_person_sees(tmp_path, warm):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dsp_fairseq.cli.report", *arguments],
            capture_output=True,
            text=True,
        )

    assert "dsp-report sweeps/multi30k --output" in run("--help").stdout
    refused = run(str(tmp_path), "--output", str(tmp_path / "report"))
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1].startswith("dsp_fairseq: error: cannot read")
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "report").exists()
