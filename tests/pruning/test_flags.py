"""The pruning flags: each mistake is one clear line."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.estimators import ESTIMATORS, Estimator, HardConcrete, Option
from dsp_fairseq.pruning import flags


def test_freeze_defaults_to_the_end_of_the_cooldown(build):
    assert build(6, cooldown_steps=77).head_gates.plan.freeze_after == 77
    assert build(6, cooldown_steps=77, freeze_heads_after=5).head_gates.plan.freeze_after == 5


def test_every_flag_that_is_asked_for_is_found_in_a_config_of_hydra():
    """One that is not would be taken for not given."""
    asked = set()
    for path in Path(flags.__file__).parents[1].rglob("*.py"):
        asked |= set(re.findall(r'training_flag\([\w.]+, "(\w+)"\)', path.read_text("utf-8")))
    assert len(asked) > 10
    assert asked <= set(flags.TRAINING_FLAGS)


def _with_option(monkeypatch, name, default=1.0, estimator="own"):
    options = (Option(name, default, "what it does"),)
    monkeypatch.setitem(ESTIMATORS, estimator, type("Own", (Estimator,), {"options": options}))


@pytest.mark.parametrize(
    "name",
    ["warmup_updates", "dropout", "seed", "label_smoothing", "source_lang", "gate_seed", "arch"],
)
def test_an_option_that_is_a_flag_already_is_refused(monkeypatch, name):
    _with_option(monkeypatch, name)
    with pytest.raises(PruningError, match=f"estimator own has an option {name}, and --"):
        flags.add_pruning_flags(ArgumentParser())


def test_an_option_that_the_parser_has_is_refused(monkeypatch):
    _with_option(monkeypatch, "sharpness")
    parser = ArgumentParser()
    parser.add_argument("--sharpness")
    with pytest.raises(PruningError, match="--sharpness is a flag of fairseq's already"):
        flags.add_pruning_flags(parser)


def test_estimators_share_an_option(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "own", type("Own", (HardConcrete,), {}))
    parser = ArgumentParser()
    flags.add_pruning_flags(parser)
    assert "hard-concrete, own: loss per token" in " ".join(parser.format_help().split())
    assert flags.pruning_flags()["l0_penalty"] is None


def test_options_of_one_name_and_other_defaults_are_refused(monkeypatch):
    _with_option(monkeypatch, "sharpness", 1.0, "one")
    _with_option(monkeypatch, "sharpness", 2.0, "two")
    with pytest.raises(PruningError, match="estimators one and two have an option sharpness"):
        flags.options_of_estimators()
