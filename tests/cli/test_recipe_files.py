"""The recipes and sweeps of the repository, and those of the documentation."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

import pytest

from dsp_fairseq.cli import run as run_command
from dsp_fairseq.cli import sweep as sweep_command
from dsp_fairseq.experiments.grid import jobs_of, load_grid
from dsp_fairseq.experiments.recipe import load_recipe
from dsp_fairseq.experiments.run import default_folder

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "scripts/recipes").glob("*.yaml"))
SWEEPS = sorted((ROOT / "scripts/sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(path, capsys, monkeypatch):
    """The dry run of every corpus: fairseq's own parser takes the flags, and no data is needed."""
    budget = [] if "dense" in path.stem else ["--num-of-heads", "12"]
    monkeypatch.chdir(ROOT)
    run_command.main([str(path), *budget, "--dry-run"])
    commands = capsys.readouterr().out.splitlines()
    made = load_recipe(path)
    (training,) = (command for command in commands if f"fairseq-train {made.data} " in command)
    assert training.startswith("torchrun" if made.processes > 1 else "fairseq-train")
    generating = [command for command in commands if "fairseq-generate" in command]
    assert len(generating) == len(made.evaluate) > 0
    if "dense" not in path.stem:
        assert made.budget is None, "a pruned recipe leaves K open"
    if made.make_start.startswith("dsp-run"):
        dense = load_recipe(ROOT / made.make_start.split()[-1])
        assert made.start == f"{default_folder(dense)}/checkpoint_best.pt"
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
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("    dsp-")]
    assert len(commands) >= 9
    monkeypatch.chdir(ROOT)
    for name, path, *flags in commands:
        if path.startswith("runs/"):
            continue  # the record of a run, which another test repeats
        main = {"dsp-run": run_command.main, "dsp-sweep": sweep_command.main}[name]
        main([path, *flags, "--dry-run"])
        assert "fairseq-train data/" in capsys.readouterr().out


def test_the_grid_of_the_documentation_is_one(tmp_path, monkeypatch):
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    block = text.partition("A grid file:\n\n")[2].partition("\n\n`dense`")[0]
    (tmp_path / "grid.yaml").write_text(textwrap.dedent(block))
    monkeypatch.chdir(ROOT)
    jobs = jobs_of(load_grid(tmp_path / "grid.yaml"))
    assert len(jobs) == 1 + 3 * 4 * 3 + 3
