"""Flags as a command line has them."""

from __future__ import annotations

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.checks import check_flags
from dsp_fairseq.experiments.flags import arguments_of
from dsp_fairseq.experiments.recipe import merge_flags, parse_assignments


def test_flags_become_words():
    flags = merge_flags({"lr": "1"}, {"lr": 0.5, "cpu": True, "fp16": False, "gone": None})
    assert arguments_of(flags) == ["--lr", "0.5", "--cpu"]
    assert merge_flags(flags, {"--max_update": 3})["max-update"] == "3"
    assert parse_assignments(["a=1=2", "b=true", "c="]) == {"a": "1=2", "b": True, "c": None}
    with pytest.raises(PruningError, match="write FLAG=VALUE"):
        parse_assignments(["a"])


@pytest.mark.parametrize(
    ("flag", "hint"),
    [("gate-estimator", True), ("arch", True), ("criterion", True), ("ddp-backend", False)],
)
def test_what_a_package_may_add_names_its_flag(recipe, tmp_path, flag, hint):
    made = recipe().with_train({"num-of-heads": 4, flag: "own"})
    with pytest.raises(PruningError, match="invalid choice: 'own'") as stop:
        check_flags(made, tmp_path)
    assert stop.value.message.endswith("the package that has it by --user-dir") is hint
