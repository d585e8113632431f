"""Sweeps: the lines, and what happens when runs fail."""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace

import pytest

from dsp_fairseq.cli import sweep as sweep_command
from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments import sweep
from dsp_fairseq.experiments.commands import (
    commands_of,
)
from dsp_fairseq.experiments.grid import Method, jobs_of
from dsp_fairseq.experiments.results import read_lines
from dsp_fairseq.experiments.run import is_done
from dsp_fairseq.experiments.sweep import Progress, collect, run_jobs


def _finish(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    result = {"id": "x", "method": "x", "folder": ".", "scores": {}, "train_seconds": 1.0}
    (folder / "result.json").write_text(json.dumps({**result, **values}))


class _Handle:
    def __init__(self, error):
        self._error = error

    def done(self):
        return True

    def result(self):
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


def test_each_recipe_in_a_folder_keeps_its_dense_line(grid, tmp_path):
    """Whichever of two grids is collected last, and however often."""
    one = grid(dense=str(tmp_path / "one"))
    two = grid(dense={"recipe": str(tmp_path / "recipe.yaml"), "folder": str(tmp_path / "two")})
    two = replace(two, recipe=replace(two.recipe, name="other"))
    for made, seconds in ((one, 1.0), (two, 2.0)):
        _finish(made.dense_folder, train_seconds=seconds)
    for made in (one, two, two, one):
        lines = collect(made, jobs_of(made))
    dense = [(line["id"], line["recipe"], line["method"], line["folder"]) for line in lines]
    assert sorted(dense) == [
        ("dense", "base", "dense", "../one"),
        ("dense-other", "other", "dense", "../two"),
    ]
    for shown in ({"dense": 2.0}, {}):
        display = sweep_command.Display(two, [Progress(job) for job in jobs_of(two)])
        display.update()
        assert {name: line["train_seconds"] for name, line in display.results.items()} == shown
        (tmp_path / "two/result.json").unlink(missing_ok=True)


def test_dense_runs_of_several_seeds_stand_side_by_side(grid, tmp_path):
    made = {seed: grid(dense=str(tmp_path / f"d{seed}")) for seed in (1, 2, 3)}
    for seed, one in made.items():
        _finish(one.dense_folder, seed=seed)
    for seed in (1, 2, 3, 1, 2):
        lines = collect(made[seed], [])
    assert {(x["id"], x["seed"], x["folder"]) for x in lines} == {
        ("dense", 1, "../d1"),
        ("dense-base", 2, "../d2"),
        ("dense-base-s3", 3, "../d3"),
    }
    _finish(made[1].dense_folder, seed=4)
    lines = collect(made[1], [])
    assert sorted((x["seed"], x["folder"]) for x in lines) == [
        (2, "../d2"), (3, "../d3"), (4, "../d1")
    ]  # fmt: skip
    _finish(made[1].dense_folder, seed=1)
    again = grid(dense=str(tmp_path / "again"))
    _finish(again.dense_folder, seed=2)
    lines = collect(again, [])
    assert sorted(x["folder"] for x in lines) == ["../again", "../d1", "../d3"]


def test_a_dense_run_of_other_data_is_refused_before_it_is_made(checked, monkeypatch):
    monkeypatch.setattr(sweep, "data_hash", str)
    made = replace(checked, recipe=replace(checked.recipe, data="data/other"))
    with pytest.raises(PruningError, match="was made from other data than data/other"):
        sweep.check_jobs(made, jobs_of(made))


def test_a_finished_sweep_needs_its_data_no_more(checked, tmp_path, monkeypatch):
    def missing(folder):
        raise PruningError(f"no data in {folder}")

    monkeypatch.setattr(sweep, "data_hash", missing)
    jobs = jobs_of(checked)
    with pytest.raises(PruningError, match="no data"):
        sweep.check_jobs(checked, jobs)
    for job in jobs:
        _finish(job.run.folder)
    sweep.check_jobs(checked, jobs)


def test_another_dense_run_of_one_seed_needs_another_folder(checked, grid, tmp_path, monkeypatch):
    _finish(checked.dense_folder, seed=1, budget=24, num_heads=24, scores={"test": {}})
    collect(checked, [])
    sweep.check_jobs(checked, [])
    other = grid(dense=str(tmp_path / "other"))
    for seed, message in ((1, "are compared with the dense run in"), (2, None)):
        _finish(tmp_path / "other", seed=seed, budget=24, num_heads=24, scores={"test": {}})
        with pytest.raises(PruningError, match=message) if message else nullcontext():
            sweep.check_jobs(other, [])
    shutil.rmtree(checked.dense_folder)
    _finish(tmp_path / "other", seed=1, budget=24, num_heads=24, scores={"test": {}})
    sweep.check_jobs(other, [])


@pytest.fixture
def checked(grid, tmp_path, monkeypatch):
    """A grid whose dense run makes the start of the others; only what is compared is checked."""
    for name in ("check_run", "check_dense"):
        monkeypatch.setattr(sweep, name, lambda *args, **flags: None)
    monkeypatch.setattr(sweep, "data_hash", lambda folder: "ab")
    dense = tmp_path / "dense"
    made = grid(dense={"recipe": str(tmp_path / "recipe.yaml"), "folder": str(dense)})
    return replace(made, recipe=replace(made.recipe, start=str(dense / "checkpoint_best.pt")))


def test_runs_of_a_dense_model_that_is_gone_are_not_taken_for_those_of_the_next(checked):
    jobs = jobs_of(checked)
    sweep.check_jobs(checked, jobs)
    folder = jobs[-1].run.folder
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text("{}")
    with pytest.raises(
        PruningError, match=f"{folder} was made from the dense run in .*, which is not whole"
    ):
        sweep.check_jobs(checked, jobs)
    checked.dense.folder.mkdir()
    (checked.dense.folder / "checkpoint_last.pt").write_text("")
    sweep.check_jobs(checked, jobs)  # it is continued


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            "recipe: {name: x, data: d, train: {lr: 1}, generate: {beam: 1}}",
            "evaluated with {'beam': '1'}, and",
        ),
        ("data_sha256: cd", "was made from other data"),
        ("data_sha256: ab", None),
    ],
)
def test_a_dense_run_is_of_the_same_data_and_evaluation(checked, tmp_path, record, said):
    made = replace(checked, dense=None, dense_folder=tmp_path / "made")
    scores = {"budget": 24, "num_heads": 24, "scores": {"test": {}}}
    _finish(tmp_path / "made", **scores)
    (tmp_path / "made/run.yaml").write_text(record)
    if said:
        with pytest.raises(PruningError, match=said):
            sweep.check_jobs(made, jobs_of(made))
    else:
        sweep.check_jobs(made, jobs_of(made))


def test_a_sweep_in_a_linked_folder_finds_its_dense_run(grid, tmp_path):
    dense = tmp_path / "dense"
    _finish(dense)
    (tmp_path / "far/away/real").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "far/away/real")
    collect(grid(dense=str(dense)), [])
    (line,) = read_lines(tmp_path / "runs/runs.jsonl")
    assert (tmp_path / "runs" / line["folder"] / "result.json").exists()


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
    other = replace(made, methods={"other": Method()})
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
