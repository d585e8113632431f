"""The commands that follow from a recipe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.checks import (
    check_flags,
)
from dsp_fairseq.experiments.commands import (
    rank_command,
    start_of,
    train_command,
    train_flags,
    training_in_processes,
)


def test_commands_name_all_that_matters(recipe):
    made = recipe(processes=2, generate={"beam": 3}).with_train({"num-of-heads": 6, "seed": 4})
    words = train_command(made, Path("runs/x"), cpu=False)
    assert words[:2] == ["torchrun", "--standalone"]
    assert words[words.index("--no-python") + 1] == "fairseq-train"
    for flag, value in (("--num-of-heads", "6"), ("--seed", "4"), ("--save-dir", "runs/x")):
        assert words[words.index(flag) + 1] == value


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
    made = recipe(start="dense.pt", rank={"method": "michel"}).with_train(
        {**flags, "num-of-heads": 6, "seed": 3}
    )
    words = " ".join(rank_command(made, Path("runs/x")))
    assert words == (
        f"{Path(sys.executable).name} -m dsp_fairseq.cli.rank_heads dense.pt --data data/x "
        "--num-of-heads 6 --seed 3 --method michel --output runs/x/ranked.pt"
    )
    train = train_flags(made, Path("runs/x"))
    assert train["finetune-from-model"] == "runs/x/ranked.pt"
    assert train["max-update"] == "100"
    assert not {"pruning-mode", "freeze-heads-after", "finetune-updates"} & set(train)


def test_heads_are_chosen_by_cost_where_the_budget_is_one(recipe):
    flags = {"head-costs": "encoder.self=1", "cost-budget": 2.5}
    made = recipe(start="dense.pt", rank={"method": "michel"}).with_train(flags)
    words = " ".join(rank_command(made, Path("runs/x")))
    assert "--head-costs encoder.self=1 --cost-budget 2.5 --seed 1" in words
    assert "--num-of-heads" not in words


def test_the_ranked_checkpoint_of_an_earlier_run_is_found(recipe, tmp_path):
    made = recipe(start="dense.pt", rank={"method": "michel"}).with_train({"num-of-heads": 6})
    assert start_of(made, tmp_path) == tmp_path / "ranked.pt"
    (tmp_path / "scored.pt").touch()
    assert train_flags(made, tmp_path)["finetune-from-model"] == str(tmp_path / "scored.pt")


def test_ranking_needs_a_start_and_a_method(recipe, tmp_path):
    with pytest.raises(PruningError, match="'rank' needs 'start'"):
        rank_command(recipe(rank={"method": "michel"}), tmp_path)
    with pytest.raises(PruningError, match="'rank' needs a method"):
        rank_command(recipe(rank={"max-batches": 3}, start="dense.pt"), tmp_path)


@pytest.mark.parametrize(
    ("rank", "train", "message"),
    [
        ({"num_of_heads": 6}, {}, "'rank' sets num-of-heads, which 'train' says"),
        ({"head-costs": "all=1"}, {}, "'rank' sets head-costs, which 'train' says"),
        ({"output": "x.pt"}, {}, "'rank' sets output, which dsp-run says"),
        ({}, {"num-of-heads": "6,18"}, "chooses heads for one budget, and these are 2"),
    ],
)
def test_a_ranking_keeps_the_heads_that_the_run_says(recipe, tmp_path, rank, train, message):
    made = recipe(start="dense.pt", rank={"method": "random", **rank})
    with pytest.raises(PruningError, match=message):
        rank_command(made.with_train({"num-of-heads": 12, **train}), tmp_path)


def test_several_processes_are_started_by_torchrun():
    alone = training_in_processes(1, ["data", "--cpu"], cpu=True)
    assert alone == ["fairseq-train", "data", "--cpu", "--distributed-world-size", "1"]
    several = training_in_processes(2, ["data"], cpu=False)
    start = "torchrun --standalone --nproc-per-node 2 --no-python fairseq-train data"
    assert " ".join(several).startswith(start)
    assert several[-2:] == ["--ddp-backend", "legacy_ddp"]
    given = training_in_processes(2, ["data", "--ddp-backend=c10d"], cpu=False)
    assert "legacy_ddp" not in given


def test_a_ranking_has_the_floors_the_ceilings_and_the_repair_of_the_others(recipe):
    flags = {
        "num-of-heads": 6,
        "keep-at-least": "site=1",
        "keep-at-most": "site=2",
        "pruning-mode": "pipelined",
        "repair-batches": 20,
    }
    made = recipe(start="dense.pt", rank={"method": "fisher", "keep-at-most": "site=3"})
    words = " ".join(rank_command(made.with_train(flags), Path("runs/x")))
    assert "--keep-at-least site=1 --keep-at-most site=3 --repair-batches 20" in words
