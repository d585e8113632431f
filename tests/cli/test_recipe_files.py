"""The recipes and sweeps of the repository, and those of the documentation."""

from __future__ import annotations

import re
import shlex

import pytest
from documentation import ROOT, blocks
from documentation import commands as documented

from dsp_fairseq.cli import run as run_command
from dsp_fairseq.cli import sweep as sweep_command
from dsp_fairseq.experiments.grid import jobs_of, load_grid
from dsp_fairseq.experiments.recipe import load_recipe
from dsp_fairseq.experiments.run import default_folder

RECIPES = sorted((ROOT / "scripts/recipes").glob("*.yaml"))
SWEEPS = sorted((ROOT / "scripts/sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(path, capsys, monkeypatch):
    """The dry run of every corpus: fairseq's own parser takes the flags, and no data is needed."""
    dense = re.search("(?<!from)-dense$", path.stem)
    budget = [] if dense else ["--num-of-heads", "6"]
    monkeypatch.chdir(ROOT)
    run_command.main([str(path), *budget, "--dry-run"])
    commands = capsys.readouterr().out.splitlines()
    made = load_recipe(path)
    (training,) = (command for command in commands if f"fairseq-train {made.data} " in command)
    assert training.startswith("torchrun" if made.processes > 1 else "fairseq-train")
    evaluating = [c for c in commands if re.search(r"^fairseq-generate|\.cli\.predict ", c)]
    assert len(evaluating) == len(made.evaluate) > 0
    if not dense:
        assert made.budget is None, "a pruned recipe leaves K open"
    if made.make_start.startswith("dsp-run"):
        start = load_recipe(ROOT / made.make_start.split()[-1])
        best = f"{default_folder(start)}/checkpoint_best.pt"
        assert best in (made.start, made.teacher)
    assert made.prepare.split()[1].startswith("data-prep/")
    assert made.data in made.prepare


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_parses(path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    sweep_command.main([str(path), "--dry-run"])
    printed = capsys.readouterr().out
    assert printed.count("# ") == len(jobs_of(load_grid(path)))
    assert "fairseq-train data/" in printed


def test_commands_of_the_documentation_parse(capsys, monkeypatch):
    lines = [shlex.split(line) for line in documented("docs/recipes.md") if line.startswith("dsp-")]
    assert len(lines) >= 9
    monkeypatch.chdir(ROOT)
    for name, path, *flags in lines:
        if path.startswith("runs/"):
            continue  # the record of a run, which another test repeats
        main = {"dsp-run": run_command.main, "dsp-sweep": sweep_command.main}[name]
        main([path, *flags, "--dry-run"])
        assert "fairseq-train data/" in capsys.readouterr().out


def test_the_recipe_and_the_grid_of_the_documentation_are_such(tmp_path, monkeypatch):
    recipe, grid, cluster = blocks("docs/recipes.md", "yaml")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "grid.yaml").write_text(grid + cluster)
    (tmp_path / "costs.yaml").write_text("costs: {encoder.self: 1, decoder.self: 4}")
    monkeypatch.chdir(tmp_path)
    made = load_recipe(tmp_path / "recipe.yaml")
    assert (made.name, made.train["max-update"]) == ("mine-joint", "50000")
    assert "max-epoch" not in made.train
    jobs = jobs_of(load_grid(tmp_path / "grid.yaml"))
    assert len(jobs) == 1 + 4 * 4 * 3 + 3
    assert jobs[-1].id == "fast-c24-s3"
