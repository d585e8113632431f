"""The commands that follow from a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.checks import (
    check_flags,
)
from dsp_fairseq.experiments.commands import (
    arguments_of,
    generate_command,
    score_heads_command,
    train_command,
    train_flags,
)
from dsp_fairseq.experiments.recipe import merge_flags, parse_assignments


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
