"""dsp-run and dsp-sweep through real training: repeated, interrupted, killed, submitted."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dsp_fairseq.cli import sweep as sweep_command

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _handler():
    """The commands treat a termination as Ctrl-C; afterwards it ends this process again."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _grid(folder: Path, recipe: Path, **content) -> Path:
    path = folder / "grid.yaml"
    defaults = {
        "recipe": str(recipe),
        "folder": str(folder / "runs"),
        "methods": {"gumbel": {"gate-estimator": "gumbel"}},
        "budgets": [6, 12],
        "seeds": [1],
    }
    path.write_text(yaml.safe_dump({**defaults, **content}))
    return path


def _start(grid: Path, *flags: str) -> subprocess.Popen:
    # A Python that handles signals itself; what it starts is looked for beside its executable.
    start = f"import sys; sys.executable = {sys.executable!r}; sys.argv[0] = 'dsp-sweep'; "
    command = [PYTHON, "-c", start + "from dsp_fairseq.cli.sweep import main; main()", str(grid)]
    return subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _table(folder: Path) -> list[dict]:
    """The lines without what depends on the speed of the machine."""
    lines = [json.loads(line) for line in (folder / "runs/runs.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("train_seconds", "generate_seconds", "tokens_per_second"):
            assert line.pop(name) >= 0
    return lines


def _wait_for(condition, process: subprocess.Popen | None) -> None:
    for _ in range(7500):
        if condition():
            return
        assert process is None or process.poll() is None, process.stdout.read()
        time.sleep(0.04)
    pytest.fail("it did not come to pass within five minutes")


def _count(log: Path, words: str) -> int:
    return log.read_text().count(words) if log.exists() else 0


def _free(folder: Path) -> bool:
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.slow
def test_an_interrupted_and_a_killed_sweep_give_the_same_table(recipe, warm, tmp_path):
    content = {
        "train": {"max-update": 80, "save-interval-updates": 4, "keep-interval-updates": 1},
        "budgets": [6],
    }
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    reference = _start(_grid(whole, recipe, **content))
    assert reference.wait() == 0, reference.stdout.read()

    grid, run = _grid(cut, recipe, **content), cut / "runs/gumbel-k6-s1"
    log = run / "train.log"
    for how in (signal.SIGTERM, signal.SIGKILL):
        process = _start(grid)
        goal = _count(log, "Saved checkpoint") + 1
        _wait_for(lambda goal=goal: _count(log, "Saved checkpoint") >= goal, process)
        process.send_signal(how)
        process.wait()
        _wait_for(lambda: _free(run), None)
        assert not (run / "result.json").exists()
        if how == signal.SIGTERM:
            assert process.returncode == 130
            assert "give the same command again to continue" in process.stdout.read()

    process = _start(grid)
    assert process.wait() == 0, process.stdout.read()
    assert _count(log, "Loaded checkpoint") == 2, "it did not go on where it was"
    assert _table(cut) == _table(whole)
    assert len(_table(cut)) == 1


@pytest.mark.slow
def test_submitit_runs_jobs_and_reports_the_failed_one(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    grid = _grid(
        tmp_path,
        recipe,
        methods={"good": {}, "bad": {"max-tokens": 1}},
        budgets=[6],
        submitit={"cluster": "local", "timeout_min": 5},
    )
    with pytest.raises(SystemExit) as end:
        sweep_command.main([str(grid), "--launcher", "submitit", "--jobs", "2"])
    assert end.value.code == 1
    printed = capsys.readouterr()
    assert "bad-k6-s1 failed: fairseq-train failed" in printed.err
    assert str(tmp_path / "runs/bad-k6-s1/train.log") in printed.err
    assert [line["id"] for line in _table(tmp_path)] == ["good-k6-s1"]


@pytest.mark.slow
def test_all_runs_start_from_the_dense_one(recipe, warm, tmp_path, capsys):
    """Dense, then pipelined for all budgets at once, and heads that are ranked and fine-tuned."""
    pipelined = tmp_path / "pipelined.yaml"
    flags = {"pruning-mode": "pipelined", "freeze-heads-after": 6, "finetune-updates": 4}
    content = {"extends": str(recipe), "name": "pipelined", "start": "set-by-the-grid"}
    pipelined.write_text(yaml.safe_dump({**content, "train": {**flags, "max-update": None}}))
    dense = {"recipe": str(recipe), "folder": str(tmp_path / "dense")}
    grid = _grid(
        tmp_path,
        pipelined,
        methods={"many": {"budgets": "all"}, "michel": {"rank": {"method": "michel"}}},
        dense={**dense, "train": {"num-of-heads": 24}},
    )
    with pytest.raises(SystemExit) as end:
        sweep_command.main([str(grid)])
    assert end.value.code == 0, capsys.readouterr()
    lines = {line["id"]: line for line in _table(tmp_path)}
    assert list(lines) == ["dense", "many-k6-s1", "many-k12-s1", "michel-k6-s1", "michel-k12-s1"]
    assert lines["dense"]["folder"] == "../dense"
    assert {line["recipe"] for line in lines.values()} == {"pipelined"}
    for name, line in lines.items():
        kept = [head for layers in line["kept"].values() for heads in layers for head in heads]
        assert (
            len(kept) == line["budget"] == (24 if name == "dense" else int(name.split("-")[1][1:]))
        )
        assert (tmp_path / "runs" / line["folder"] / "test.out").exists()
        assert (tmp_path / "runs" / line["folder"] / "train.log").exists()
    small, large = lines["many-k6-s1"]["kept"], lines["many-k12-s1"]["kept"]
    for kind, layers in small.items():
        for few, more in zip(layers, large[kind], strict=True):
            assert set(few) <= set(more)
    for name in ("many-s1", "michel-k6-s1"):
        record = yaml.safe_load((tmp_path / "runs" / name / "run.yaml").read_text())
        assert record["start_sha256"] is not None
    log = (tmp_path / "runs/michel-k6-s1/train.log").read_text()
    assert "ranked.pt" in log
