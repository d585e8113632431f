"""Sweeps: the grid, the lines, and what happens when runs fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from dsp_fairseq.cli import sweep as sweep_command
from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments import launchers, sweep
from dsp_fairseq.experiments.execute import environment_of
from dsp_fairseq.experiments.launchers import SubmititLauncher
from dsp_fairseq.experiments.processes import locked
from dsp_fairseq.experiments.run import commands_of, is_done
from dsp_fairseq.experiments.sweep import (
    Progress,
    collect,
    jobs_of,
    load_grid,
    read_lines,
    run_jobs,
)

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "scripts/sweeps").glob("*.yaml"))


@pytest.fixture
def grid(tmp_path):
    """Writes a recipe and a grid over it, and reads the grid."""

    def make(**content):
        train = {"arch": "dsp_transformer_tiny", "finetune-updates": 9}
        recipe = {"name": "base", "data": "data/x", "train": train, "start": "elsewhere.pt"}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        defaults = {
            "recipe": str(tmp_path / "recipe.yaml"),
            "folder": str(tmp_path / "runs"),
            "methods": {"gumbel": {"gate-estimator": "gumbel"}, "ste": {"gate-estimator": "ste"}},
            "budgets": [6, 12],
            "seeds": [1, 2],
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump({**defaults, **content}))
        return load_grid(path)

    return make


def _finish(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    result = {"id": "x", "method": "x", "folder": ".", "scores": {}, "train_seconds": 1.0}
    (folder / "result.json").write_text(json.dumps({**result, **values}))


class _Handle:
    def __init__(self, error):
        self._error = error

    def done(self):
        return True

    def error(self):
        return self._error


class _Launcher:
    """Finishes each run at once, except those whose folder's name is listed."""

    def __init__(self, failing=()):
        self.started, self.failing, self.limit = [], failing, 2

    def submit(self, run):
        self.started.append(run.folder.name)
        if run.folder.name in self.failing:
            return _Handle("it broke")
        _finish(run.folder)
        return _Handle(None)

    def cancel(self):
        pass


def test_a_grid_is_the_product_of_its_axes(grid):
    jobs = jobs_of(grid())
    assert [job.id for job in jobs] == [
        f"{method}-k{k}-s{seed}" for method in ("gumbel", "ste") for k in (6, 12) for seed in (1, 2)
    ]
    run = jobs[-1].run
    assert run.recipe.train["gate-estimator"] == "ste"
    assert run.recipe.train["num-of-heads"] == "12"
    assert run.recipe.seed == 2
    assert run.folder.name == jobs[-1].id


def test_methods_may_choose_heads_without_training(grid):
    job = jobs_of(grid(methods={"michel": {"score": {"method": "michel"}, "lr": "1e-4"}}))[0]
    assert job.run.recipe.score == {"method": "michel"}
    assert job.run.recipe.train["lr"] == "1e-4"
    assert "score" not in job.run.recipe.train


def test_flags_of_generation_hold_for_all_runs(grid, tmp_path):
    made = grid(generate={"max-len-b": 9}, dense={"recipe": str(tmp_path / "recipe.yaml")})
    for job in jobs_of(made):
        assert job.run.recipe.generate["max-len-b"] == "9"


def test_one_training_may_serve_all_budgets(grid, tmp_path):
    made = grid(methods={"many": {"budgets": "all"}}, seeds=[3])
    (job,) = jobs_of(made)
    assert job.run.recipe.budget == "6,12"
    words = [" ".join(command) for command in commands_of(job.run)]
    assert "--num-of-heads 6,12" in words[0]
    overrides = [text.split("--model-overrides ")[1].split(" --")[0] for text in words[1:]]
    assert overrides == ["{'num_of_heads': '6'}"] * 2 + ["{'num_of_heads': '12'}"] * 2
    for _, folder in job.results:
        assert not is_done(job.run)
        _finish(folder)
    assert is_done(job.run)
    lines = collect(made, [job])
    assert [(line["id"], line["folder"]) for line in lines] == [
        ("many-k6-s3", "many-s3/k6"),
        ("many-k12-s3", "many-s3/k12"),
    ]


def test_lines_of_another_grid_in_the_folder_are_kept(grid, tmp_path):
    dense = tmp_path / "dense"
    _finish(dense)
    with_dense = grid(methods={"a": {}}, budgets=[6], seeds=[1], dense=str(dense))
    (job,) = jobs_of(with_dense)
    _finish(job.run.folder)
    collect(with_dense, [job])
    other = grid(methods={"b": {}}, budgets=[6], seeds=[1])
    (job,) = jobs_of(other)
    _finish(job.run.folder)
    assert {line["id"] for line in collect(other, [job])} == {"dense", "a-k6-s1", "b-k6-s1"}


def test_runs_start_from_the_dense_run_of_the_grid(grid, tmp_path):
    assert jobs_of(grid(dense="runs/d"))[0].run.recipe.start == "runs/d/checkpoint_best.pt"
    dense = {"recipe": str(tmp_path / "recipe.yaml"), "folder": "runs/e", "train": {"lr": 1}}
    jobs = jobs_of(grid(dense=dense))
    assert jobs[0].id == "dense"
    assert jobs[0].run.folder == Path("runs/e")
    assert jobs[0].run.recipe.train["lr"] == "1"
    assert jobs[1].run.recipe.start == "runs/e/checkpoint_best.pt"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"budgets": 6}, "'budgets' must be a list of whole numbers"),
        ({"seeds": [1, 1]}, "'seeds' names a number twice"),
        ({"methods": ["gumbel"]}, "'methods' must hold"),
        ({"methods": {"a/b": {}}}, "'methods' must hold"),
        ({"methods": {"dense": {}}}, "'methods' must hold"),
        ({"budget": [6]}, "unknown key 'budget'"),
        ({"methods": {"many": {"budgets": [6]}}}, "can only be 'all'"),
        ({"recipe": None}, "'recipe' is missing"),
        ({"dense": {"folder": "x"}}, "'dense' must be a folder"),
    ],
)
def test_mistakes_in_grids_are_refused(grid, content, message):
    with pytest.raises(PruningError, match=message):
        grid(**content)


def test_lines_are_never_twice_and_heal(grid, tmp_path):
    made = grid()
    jobs, path = jobs_of(made), tmp_path / "runs/runs.jsonl"
    _finish(jobs[2].run.folder)
    collect(made, jobs)
    _finish(jobs[0].run.folder)
    collect(made, jobs)
    lines = collect(made, jobs)
    assert [line["id"] for line in lines] == ["gumbel-k6-s1", "gumbel-k12-s1"]
    assert lines == read_lines(path)
    assert lines[0]["method"] == "gumbel" and lines[0]["folder"] == "gumbel-k6-s1"

    path.unlink()  # as if a kill had come between a result and its line
    assert collect(made, jobs) == lines

    # Another grid in the same folder adds its lines and keeps these.
    _finish(tmp_path / "runs/other-k6-s1")
    other = replace(made, methods={"other": {}})
    names = [line["id"] for line in collect(other, jobs_of(other))]
    assert names == ["gumbel-k6-s1", "gumbel-k12-s1", "other-k6-s1"]

    path.write_text("{\n")
    with pytest.raises(PruningError, match="is damaged"):
        collect(made, jobs)


def test_a_failed_run_does_not_stop_the_others(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0)
    made = grid()
    jobs = jobs_of(made)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert sweep_command.run_grid(made, jobs, _Launcher(["gumbel-k12-s1"])) == 1
        printed = capsys.readouterr()
        assert "gumbel-k12-s1 failed: it broke" in printed.err
        assert "7 of 8 runs" in printed.out
        assert len(read_lines(tmp_path / "runs/runs.jsonl")) == 7

        launcher = _Launcher()
        assert sweep_command.run_grid(made, jobs, launcher) == 0
        assert launcher.started == ["gumbel-k12-s1"], "what is done is not done again"
        assert len(read_lines(tmp_path / "runs/runs.jsonl")) == 8
    finally:
        signal.signal(signal.SIGTERM, before)


def test_all_wait_for_the_dense_run(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0)
    dense = {"recipe": str(tmp_path / "recipe.yaml"), "folder": str(tmp_path / "runs/d")}
    jobs = [Progress(job) for job in jobs_of(grid(dense=dense))]
    launcher = _Launcher(["d"])
    run_jobs(jobs, launcher, 4, lambda: None, first=jobs[0])
    assert launcher.started == ["d"]
    assert jobs[1].error == "not run, since dense failed"
    assert all(job.stage == "failed" for job in jobs)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_parses(path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    sweep_command.main([str(path), "--dry-run"])
    printed = capsys.readouterr().out
    assert printed.count("# ") == len(jobs_of(load_grid(path)))
    assert "fairseq-train data/" in printed


def test_a_folder_is_worked_on_by_one_process_at_a_time(tmp_path):
    with locked(tmp_path, wait=False):
        script = (
            "from pathlib import Path; from dsp_fairseq.experiments.processes import locked\n"
            f"with locked(Path({str(tmp_path)!r}), wait=False): pass"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 1
        assert "is being worked on by another process" in done.stderr
    with locked(tmp_path, wait=False):
        pass


def test_children_die_with_their_parent_and_release_the_folder(tmp_path):
    """Even if the parent is killed, so that it cannot end them itself."""
    script = (
        "from pathlib import Path\n"
        "from dsp_fairseq.experiments.processes import locked, run_logged\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "with locked(folder, wait=False) as lock:\n"
        "    run_logged(['bash', '-c', 'echo $$ > pid; sleep 100'], folder / 'log', lock=lock)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    pid_file = tmp_path / "pid"
    while not pid_file.exists() or not pid_file.read_text().strip():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child = int(pid_file.read_text())
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child outlived its parent")


def test_local_runs_take_the_gpus_in_turn(grid, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    both = threading.Barrier(2, timeout=10)
    seen = []

    def pretend(run):
        both.wait()  # so that two runs go on at the same time
        seen.append(environment_of(run)["CUDA_VISIBLE_DEVICES"])

    monkeypatch.setattr(launchers, "attempt", pretend)
    launcher = launchers.LocalLauncher(Path(), 2, {})
    handles = [launcher.submit(job.run) for job in jobs_of(grid())[:4]]
    assert [handle.error() for handle in handles] == [None] * 4
    assert sorted(seen) == ["4", "4", "7", "7"]


def test_submitit_refuses_unknown_parameters(tmp_path):
    with pytest.raises(PruningError, match="submitit refuses"):
        SubmititLauncher(tmp_path, 1, {"cluster": "local", "no_such_parameter": 1})
