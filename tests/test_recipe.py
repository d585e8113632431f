"""Recipes: reading, extending, and the commands that follow."""

from __future__ import annotations

import shlex
import textwrap
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml

from dsp_fairseq import run as run_module
from dsp_fairseq import sweep
from dsp_fairseq.errors import UsageError
from dsp_fairseq.recipe import (
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
from dsp_fairseq.run import (
    RESULT_FILE,
    RUN_FILE,
    Run,
    check_data,
    check_folder,
    check_start,
    default_folder,
    generation_speed,
    mend_checkpoints,
    prepare_data,
    read_run,
    updates_done,
    valid_loss,
    with_arguments,
)

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "scripts/recipes").glob("*.yaml"))

TRAIN = {
    "arch": "dsp_transformer_tiny",
    "criterion": "dsp_label_smoothed_cross_entropy",
    "optimizer": "dsp_adam",
    "lr": "3e-3",
    "max-tokens": 1000,
    "max-update": 10,
    "share-all-embeddings": True,
}


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe and reads it."""

    def make(name="base", **content):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, "data": "data/x", "train": TRAIN, **content}))
        return load_recipe(path)

    return make


def _arguments(**values):
    given = {"set": [], "num_of_heads": None, "seed": None, "save_dir": None}
    return Namespace(**{**given, "threads": None, "processes": None, **values})


def test_a_recipe_extends_another(recipe, tmp_path):
    recipe()
    path = tmp_path / "child.yaml"
    path.write_text("extends: base.yaml\nname: child\ntrain: {lr: 1e-4, max-update: null}\n")
    child = load_recipe(path)
    assert child.name == "child"
    assert child.data == "data/x"
    assert child.train["lr"] == "1e-4"
    assert child.train["arch"] == TRAIN["arch"]
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
    with pytest.raises(UsageError, match=message):
        load_recipe(path)


def test_flags_become_words():
    flags = merge_flags({"lr": "1"}, {"lr": 0.5, "cpu": True, "fp16": False, "gone": None})
    assert arguments_of(flags) == ["--lr", "0.5", "--cpu"]
    assert merge_flags(flags, {"--max_update": 3})["max-update"] == "3"
    assert parse_assignments(["a=1=2", "b=true", "c="]) == {"a": "1=2", "b": True, "c": None}
    with pytest.raises(UsageError, match="write FLAG=VALUE"):
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
    with pytest.raises(UsageError, match=message):
        check_flags(recipe().with_train(flags), Path("x"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(path, capsys, monkeypatch):
    """The dry run of every corpus: fairseq's own parser takes the flags, and no data is needed."""
    budget = [] if "dense" in path.stem else ["--num-of-heads", "12"]
    monkeypatch.chdir(ROOT)
    run_module.main([str(path), *budget, "--dry-run"])
    commands = capsys.readouterr().out.splitlines()
    assert "fairseq-train data/" in commands[0] or "fairseq-train" in commands[0]
    made = load_recipe(path)
    generating = [command for command in commands if "fairseq-generate" in command]
    assert len(generating) == len(made.evaluate) > 0
    if "dense" not in path.stem:
        assert made.budget is None, "a pruned recipe leaves K open"
    if made.start is not None:
        dense = load_recipe(ROOT / made.make_start.split()[-1])
        assert made.start == f"{default_folder(dense)}/checkpoint_best.pt"
    assert made.prepare.split()[1].startswith("data-prep/")
    assert made.data in made.prepare


def test_missing_data_and_start_name_the_commands_that_make_them(recipe, tmp_path):
    made = recipe(prepare="bash make-data.sh", start="none.pt", **{"make-start": "dsp-run dense"})
    with pytest.raises(UsageError, match=r"no data folder data/x: make it with: bash make-data.sh"):
        check_data(Run(made, tmp_path))
    with pytest.raises(UsageError, match=r"no checkpoint none.pt .*: make it with: dsp-run dense"):
        check_start(Run(made, tmp_path))


def test_missing_data_is_made_once_by_the_recipes_own_command(recipe, tmp_path, capfd):
    data, maker = tmp_path / "made", tmp_path / "make.sh"
    maker.write_text(f'echo "given $*"; mkdir {data}\n')
    made = recipe(data=str(data), prepare=f"bash {maker} --lowercase")
    for _ in range(2):
        prepare_data(made, "raw")
    assert capfd.readouterr().out.count("given --lowercase --from raw") == 1
    assert data.is_dir()


def test_data_that_cannot_be_made_is_an_error(recipe):
    with pytest.raises(UsageError, match="no data in data/x: that command ended with 3"):
        prepare_data(recipe(prepare="bash -c 'exit 3'"), "")
    with pytest.raises(UsageError, match="does not say how data/x is made"):
        prepare_data(recipe(), "")


def test_a_run_file_is_enough_to_run_again(recipe, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.de-en.de.bin").write_bytes(b"abc")
    (data / "dict.de.txt").write_text("a 1\n")
    made = recipe(data=str(data), start="start.pt").with_train({"num-of-heads": 6, "seed": 2})
    folder = tmp_path / "run"
    folder.mkdir()
    run = Run(made, folder, threads=2)
    (folder / RUN_FILE).write_text(yaml.safe_dump(run_module.describe(run)))
    again = read_run(folder / RUN_FILE)
    assert again.recipe == made
    assert (again.folder, again.threads) == (folder, 2)
    check_data(again)
    moved = with_arguments(again, _arguments(save_dir=tmp_path / "other"))
    assert moved.folder == tmp_path / "other"

    check_folder(run)
    with pytest.raises(UsageError, match=r"other settings \(seed: 2 there, 3 here\)"):
        check_folder(Run(made.with_train({"seed": 3}), folder))

    (data / "train.de-en.de.bin").write_bytes(b"abd")
    with pytest.raises(UsageError, match="is not what this run was made from"):
        check_data(again)
    with pytest.raises(UsageError, match="is not what this run was made from"):
        check_folder(run)


def test_a_checkpoint_that_a_kill_cut_off_is_replaced(tmp_path):
    best, last = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    torch.save({"update": 7}, best)
    last.write_bytes(best.read_bytes()[:100])
    mend_checkpoints(tmp_path)
    assert torch.load(last) == {"update": 7}

    best.write_bytes(last.read_bytes()[:100])
    mend_checkpoints(tmp_path)
    assert not best.exists()
    assert torch.load(last) == {"update": 7}

    last.write_bytes(b"PK")
    mend_checkpoints(tmp_path)
    assert not last.exists()


@pytest.mark.parametrize(("metric", "expected"), [("loss", 4.5), ("bleu", None)])
def test_validation_loss_is_that_which_chose_the_checkpoint(metric, expected):
    chosen = {"checkpoint": {"best_checkpoint_metric": metric}}
    assert valid_loss({"cfg": chosen, "extra_state": {"val_loss": 4.5}}) == expected


def test_values_come_from_the_logs(tmp_path):
    (tmp_path / "train.log").write_text(
        '2026 | INFO | train_inner | {"epoch": 1, "num_updates": "50"}\n'
        '2026 | INFO | train_inner | {"epoch": 1, "num_updates": "100"}\n'
        '2026 | INFO | train_inner | {"epoch": 1, "num_upd'
    )
    assert updates_done(tmp_path) == 100
    (tmp_path / "test.log").write_text(
        "Translated 1,000 sentences (13,031 tokens) in 5.2s (192.12 sentences/s, 2505.96 tokens/s)"
    )
    assert generation_speed(tmp_path, "test") == (5.2, 2505.96)
    assert updates_done(tmp_path / "none") is None
    assert not (tmp_path / RESULT_FILE).exists()


def test_commands_of_the_documentation_parse(capsys, monkeypatch):
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("    dsp-")]
    assert len(commands) >= 9
    monkeypatch.chdir(ROOT)
    for name, path, *flags in commands:
        if path.startswith("runs/"):
            continue  # the record of a run, which another test repeats
        main = {"dsp-run": run_module.main, "dsp-sweep": sweep.main}[name]
        main([path, *flags, "--dry-run"])
        assert "fairseq-train data/" in capsys.readouterr().out


def test_the_grid_of_the_documentation_is_one(tmp_path, monkeypatch):
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    block = text.partition("A grid file:\n\n")[2].partition("\n\n`dense`")[0]
    (tmp_path / "grid.yaml").write_text(textwrap.dedent(block))
    monkeypatch.chdir(ROOT)
    jobs = sweep.jobs_of(sweep.load_grid(tmp_path / "grid.yaml"))
    assert len(jobs) == 1 + 3 * 4 * 3 + 3
