"""Recipes, sweeps and reports of classifiers: as of translation, by accuracy."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from report_helpers import table_rows

from dsp_fairseq.cli import report as report_command
from dsp_fairseq.cli import run as run_command
from dsp_fairseq.cli import sweep as sweep_command
from dsp_fairseq.evaluation.classification import accuracy, compare
from dsp_fairseq.evaluation.predictions import read_tsv
from dsp_fairseq.experiments import execute
from dsp_fairseq.experiments.grid import jobs_of, load_grid
from dsp_fairseq.experiments.results import read_lines

TRAIN = {
    "task": "dsp_sentence_prediction",
    "num-classes": 3,
    "init-token": 0,
    "max-positions": 32,
    "arch": "dsp_roberta_tiny",
    "criterion": "dsp_sentence_prediction",
    "optimizer": "dsp_adam",
    "batch-size": 16,
    "lr": "1e-3",
    "lr-scheduler": "fixed",
    "max-update": 8,
    "num-of-heads": 8,
    "num-workers": 0,
    "log-interval": 1,
    "no-epoch-checkpoints": True,
    "best-checkpoint-metric": "accuracy",
    "maximize-best-checkpoint-metric": True,
}


@pytest.fixture
def here(run, monkeypatch) -> Callable:
    """The commands of a run are run in this process."""

    def run_here(command, output, log, environment, lock):
        handler = logging.FileHandler(log)
        form = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"
        handler.setFormatter(logging.Formatter(form))
        logging.getLogger().addHandler(handler)
        # In a process of its own a training is not as quiet as the command that starts it.
        logging.getLogger("fairseq").setLevel(logging.INFO)
        try:
            if command[0] == "fairseq-train":
                outcome = run("train", *command[1:])
                assert outcome.status == 0, outcome.message or outcome.log
            else:
                with output.open("a") as out, redirect_stdout(out):
                    import_module(command[2]).main(command[3:])
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()
        return 0

    monkeypatch.setattr(execute, "run_logged", run_here)
    return run_here


@pytest.fixture
def recipe(pairs, tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny-nli", "data": str(pairs), "train": TRAIN}))
    return path


class _Now:
    """A launcher that runs each run at once."""

    limit = 1

    def submit(self, run):
        self._error = execute.attempt(run)
        return self

    def done(self):
        return True

    def result(self):
        return self._error


def test_a_run_leaves_accuracy_and_predictions(recipe, here, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    flags = ["--num-of-heads", "2,3", "--set", "cooldown-steps=4", "--save-dir", str(folder)]
    run_command.main([str(recipe), *flags])
    printed = capsys.readouterr().out
    for budget in (2, 3):
        result = json.loads((folder / f"k{budget}/result.json").read_text())
        assert (result["budget"], result["num_heads"]) == (budget, 8)
        assert (result["task"], result["recipe"]) == ("dsp_sentence_prediction", "tiny-nli")
        for split in ("valid", "test"):
            found = accuracy(read_tsv(folder / f"k{budget}/{split}.tsv"))
            record = result["scores"][split]["accuracy"]
            assert (record["score"], record["right"]) == (found.percent, found.right)
            assert record["interval"] == list(found.interval())
            low, high = record["interval"]
            line = f"{found.percent:6.2f}   [{low:.2f}, {high:.2f}]   {found.right} of 12"
            assert f"{split:<6} accuracy        {line}" in printed
            assert f"{found.percent:.2f} [" in (folder / f"k{budget}/{split}.out").read_text()
    record = yaml.safe_load((folder / "run.yaml").read_text())
    assert len(record["data_sha256"]) == 64
    # The best checkpoint is the one with the highest accuracy.
    best = json.loads((folder / "k2/result.json").read_text())["scores"]["valid"]["accuracy"]
    logged = [
        json.loads(line.partition(" | valid | ")[2])["valid_accuracy"]
        for line in (folder / "train.log").read_text().splitlines()
        if " | valid | {" in line
    ]
    assert len(logged) > 1
    assert best["score"] == pytest.approx(max(map(float, logged)), abs=1e-3)

    monkeypatch.setattr(execute, "run_logged", lambda *_: pytest.fail("it ran again"))
    run_command.main([str(recipe), *flags])


def test_a_sweep_and_its_report(recipe, here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dsp_fairseq.experiments.sweep.POLL_SECONDS", 0)
    pruned = tmp_path / "pruned.yaml"
    content = {"extends": recipe.name, "name": "pruned-nli", "start": "set-by-the-grid"}
    pruned.write_text(yaml.safe_dump(content))
    grid_file = tmp_path / "grid.yaml"
    content = {
        "recipe": str(pruned),
        "folder": str(tmp_path / "sweep"),
        "methods": {name: {"rank": {"method": name}} for name in ("weight-norm", "random")},
        "budgets": [3],
        "seeds": [1, 2, 3],
        "dense": {"recipe": str(recipe), "folder": str(tmp_path / "dense")},
    }
    grid_file.write_text(yaml.safe_dump(content))
    grid = load_grid(grid_file)
    assert sweep_command.run_grid(grid, jobs_of(grid), _Now()) == 0
    lines = {line["id"]: line for line in read_lines(tmp_path / "sweep/runs.jsonl")}
    assert len(lines) == 7
    table = capsys.readouterr().out
    assert "valid accuracy" in table and "test accuracy" in table
    assert f"{lines['dense']['scores']['test']['accuracy']['score']:.2f}" in table

    report_command.main([str(tmp_path / "sweep"), "--output", str(tmp_path / "report")])
    text = (tmp_path / "report/report.md").read_text()
    assert (tmp_path / "report/pruned-nli-accuracy.svg").exists()
    assert "choose a budget and a method by the column valid (its accuracy)." in text
    assert "McNemar's exact test on the predictions: `McNemar|exact|two-sided`." in text
    assert "BLEU" not in text and "tokens/s" not in text and "Without a paired" not in text
    rows = table_rows(text, "parameters")
    assert [row["heads"] for row in rows] == [["8 of 8"], ["3 of 8"], ["3 of 8"]]
    dense = lines["dense"]["scores"]["test"]["accuracy"]["score"]
    assert {row["dense"][0] for row in rows} == {f"{dense:.2f}"}
    for row in table_rows(text, "minutes")[1:]:
        (name,) = row["run"]
        record = lines[name]["scores"]["test"]["accuracy"]
        assert row["accuracy"] == [f"{record['score']:.2f}"]
        low, high = record["interval"]
        assert row["95 % interval"] == [f"{low:.2f} to {high:.2f}"]
        files = (tmp_path / "sweep" / name / "test.tsv", tmp_path / "dense/test.tsv")
        assert row["p"] == [f"{compare(*map(read_tsv, files)).p:.3f}"]
    assert table_rows(text, "what it says")[0]["seeds"] == ["3"]
