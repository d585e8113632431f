"""Recipes: reading, extending, and the commands that follow."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

import pytest

from dsp_fairseq.cli import run as run_command
from dsp_fairseq.cli import sweep as sweep_command
from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments import sweep
from dsp_fairseq.experiments.recipe import (
    arguments_of,
    check_flags,
    generate_command,
    load_recipe,
    merge_flags,
    parse_assignments,
    score_heads_command,
    train_command,
    train_flags,
)
from dsp_fairseq.experiments.run import default_folder
from dsp_fairseq.pruning.flags import PruningConfig

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "scripts/recipes").glob("*.yaml"))


def test_a_recipe_extends_another(recipe, tmp_path):
    recipe()
    path = tmp_path / "child.yaml"
    path.write_text("extends: base.yaml\nname: child\ntrain: {lr: 1e-4, max-update: null}\n")
    child = load_recipe(path)
    assert child.name == "child"
    assert child.data == "data/x"
    assert child.train["lr"] == "1e-4"
    assert child.train["arch"] == "dsp_transformer_tiny"
    assert "max-update" not in child.train


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ndata: y\n", "'train' is missing"),
        ("name: x\ndata: y\ntrain: {a: 1}\ntrian: 1\n", "unknown key 'trian'"),
        ("name: x\ndata: y\ntrain: [a]\n", "must hold 'flag: value' lines"),
        ("name: x\ndata: y\ntrain: {a: 1}\nevaluate: [dev]\n", "must be a list of valid and test"),
        ("name: x\ndata: y\ntrain: {a: 1}\nprocesses: 0\n", "must be a number from 1"),
        ("extends: wrong.yaml\n", "extends itself"),
        ("extends: none.yaml\n", "cannot read .*none.yaml"),
        ("- a\n", "must hold 'key: value' lines"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_mistakes_in_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(PruningError, match=message):
        load_recipe(path)


def test_flags_become_words():
    flags = merge_flags({"lr": "1"}, {"lr": 0.5, "cpu": True, "fp16": False, "gone": None})
    assert arguments_of(flags) == ["--lr", "0.5", "--cpu"]
    assert merge_flags(flags, {"--max_update": 3})["max-update"] == "3"
    assert parse_assignments(["a=1=2", "b=true", "c="]) == {"a": "1=2", "b": True, "c": None}
    with pytest.raises(PruningError, match="write FLAG=VALUE"):
        parse_assignments(["a"])


def test_commands_name_all_that_matters(recipe):
    made = recipe(processes=2, generate={"beam": 3}).with_train({"num-of-heads": 6, "seed": 4})
    words = train_command(made, Path("runs/x"), cpu=False)
    assert words[:2] == ["torchrun", "--standalone"]
    assert words[words.index("--no-python") + 1] == "fairseq-train"
    for flag, value in (("--num-of-heads", "6"), ("--seed", "4"), ("--save-dir", "runs/x")):
        assert words[words.index(flag) + 1] == value
    generate = generate_command(made, Path("best.pt"), "valid", cpu=True)
    for flag, value in (("--required-batch-size-multiple", "1"), ("--gen-subset", "valid")):
        assert generate[generate.index(flag) + 1] == value
    assert "--user-dir" in generate and "--cpu" in generate


def test_a_pipelined_run_ends_with_its_fine_tuning(recipe):
    flags = {"pruning-mode": "pipelined", "freeze-heads-after": 250, "finetune-updates": 100}
    made = recipe(start="dense.pt").with_train({**flags, "max-update": None})
    assert train_flags(made, Path("x"))["max-update"] == "350"
    assert train_flags(made, Path("x"))["finetune-from-model"] == "dense.pt"
    given = made.with_train({"max-update": 7})
    assert train_flags(given, Path("x"))["max-update"] == "7"


def test_a_pipelined_run_ends_after_the_default_schedule_too(recipe):
    flags = {"pruning-mode": "pipelined", "finetune-updates": 100, "max-update": None}
    made = recipe(start="dense.pt").with_train(flags)
    assert train_flags(made, Path("x"))["max-update"] == "15100"
    # Its heads are frozen at once.
    made = made.with_train({"gate-estimator": "random", "num-of-heads": 6, "cooldown-steps": 9})
    assert train_flags(made, Path("x"))["max-update"] == "100"
    check_flags(made, Path("x"))
    with pytest.raises(PruningError, match="give --max-update 100"):
        check_flags(made.with_train({"max-update": 109}), Path("x"))


def test_the_method_is_the_estimator_or_the_score(recipe):
    made = recipe()
    assert made.method == PruningConfig().gate_estimator
    assert made.with_train({"gate-estimator": "ste"}).method == "ste"
    assert recipe(score={"method": "michel"}).method == "michel"


def test_heads_chosen_without_training_are_fine_tuned_only(recipe):
    flags = {"pruning-mode": "pipelined", "freeze-heads-after": 250, "finetune-updates": 100}
    made = recipe(start="dense.pt", score={"method": "michel"}).with_train(
        {**flags, "num-of-heads": 6, "seed": 3}
    )
    assert made.method == "michel"
    words = " ".join(score_heads_command(made, Path("runs/x")))
    assert words == (
        "dsp-score-heads dense.pt --data data/x --num-of-heads 6 --seed 3 --method michel "
        "--output runs/x/scored.pt"
    )
    train = train_flags(made, Path("runs/x"))
    assert train["finetune-from-model"] == "runs/x/scored.pt"
    assert train["max-update"] == "100"
    assert not {"pruning-mode", "freeze-heads-after", "finetune-updates"} & set(train)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "give --num-of-heads K"),
        ({"num-of-heads": 49}, "--num-of-heads 49 is not a whole number from 0 to 48"),
        ({"num-of-heads": 4, "max-updates": 3}, "unrecognized arguments: --max-updates 3"),
        ({"num-of-heads": 4, "max-update": "x"}, "argument --max-update: invalid int value"),
        ({"num-of-heads": 4, "arch": "no"}, "invalid choice"),
    ],
)
def test_wrong_flags_are_found_without_training(recipe, flags, message):
    with pytest.raises(PruningError, match=message):
        check_flags(recipe().with_train(flags), Path("x"))


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
    jobs = sweep.jobs_of(sweep.load_grid(tmp_path / "grid.yaml"))
    assert len(jobs) == 1 + 3 * 4 * 3 + 3
