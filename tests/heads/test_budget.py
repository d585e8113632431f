"""Budgets and floors."""

from __future__ import annotations

import pytest
import torch
from saved_models import read_head_map

from dsp_fairseq.checkpoints.formats import trained_budgets
from dsp_fairseq.errors import PruningError
from dsp_fairseq.estimators import NO_LIMITS
from dsp_fairseq.heads.budget import (
    check_trained,
    parse_budget,
    parse_budgets,
    parse_limits,
)
from dsp_fairseq.heads.costs import parse_cost_budget
from dsp_fairseq.heads.layout import DECODER_SELF, ENCODER_SELF, HeadLayout, Site

LAYOUT = HeadLayout({Site(ENCODER_SELF, 0): 2, Site(DECODER_SELF, 0): 3})


@pytest.mark.parametrize(
    ("k", "message"), [("25", "from 0 to 24"), ("-1", "from 0 to 24"), ("six", "whole number")]
)
@pytest.mark.parametrize("frozen", [True, False])
def test_a_budget_that_no_model_can_have(gated, save, k, message, frozen):
    with pytest.raises(PruningError, match=message):
        read_head_map(save(gated(6, frozen)), k)


def test_budgets_are_read_from_their_flag():
    assert parse_budgets("6, 12,24", 24) == (6, 12, 24)
    assert parse_budgets(0, 24) == (0,)
    assert parse_budget("24", 24) == 24
    with pytest.raises(PruningError, match="names a budget twice"):
        parse_budgets("6,6", 24)
    with pytest.raises(PruningError, match="give one number"):
        parse_budget("6,12", 24)


def _limits(at_least: str = "", at_most: str = "", k: int = 3):
    return parse_limits(at_least, at_most, LAYOUT, [k])


def test_limits_are_names_with_counts():
    assert _limits() == NO_LIMITS
    assert _limits("decoder.self=2, encoder.self=1").floors == (((2, 3, 4), 2), ((0, 1), 1))
    assert _limits(at_most="site=2,decoder.self.0=1").ceilings == (
        ((0, 1), 2),
        ((2, 3, 4), 2),
        ((2, 3, 4), 1),
    )


@pytest.mark.parametrize("flag", ["at_least", "at_most"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("decoder.cross=1", "NAME one of encoder.self, decoder.self, site"),
        ("encoder.self", "write NAME=COUNT"),
        ("encoder.self=-1", "write NAME=COUNT"),
        ("encoder.self=1,encoder.self=1", "each name once"),
        ("decoder.self.1=1", "such as encoder.self.0"),
    ],
)
def test_what_names_no_heads_is_refused(flag, text, message):
    with pytest.raises(PruningError, match=f"--keep-{flag.replace('_', '-')} .*{message}"):
        _limits(**{flag: text})


@pytest.mark.parametrize(
    ("at_least", "at_most", "k", "message"),
    [
        ("decoder.self=2,encoder.self=1", "", 2, "2 is below the 3 heads that it names"),
        ("site=1", "", 1, "1 is below the 2 heads"),
        ("encoder.self=3", "", 3, "the model has 2 encoder.self heads"),
        ("site=3", "", 5, "the model has 2 site heads"),
        ("", "site=1", 3, "--keep-at-most site=1 allows 2 heads, and --num-of-heads is 3"),
        ("", "decoder.self=2,site=1", 3, "allows 2 heads"),
        ("decoder.self=2", "decoder.self.0=1", 3, "--keep-at-most .* leave fewer than 2 of 3"),
    ],
)
def test_limits_without_a_set_of_heads_are_refused_by_name(at_least, at_most, k, message):
    with pytest.raises(PruningError, match=message):
        _limits(at_least, at_most, k)


PRICES = "encoder.self=1,decoder.self=4"


@pytest.mark.parametrize(
    ("at_most", "cost", "message"),
    [
        ("site=1", 6, "--keep-at-most site=1 allows heads that cost 5, and --cost-budget is 6"),
        ("site=1", 14, "allows heads that cost 5"),
        ("encoder.self=0", 2, "2 pays for none of the heads that --keep-at-most encoder.self=0 al"),
        ("site=0", 1, "allows heads that cost 0"),
    ],
)
def test_a_cost_that_ceilings_forbid_is_refused(at_most, cost, message):
    with pytest.raises(PruningError, match=message):
        parse_limits("", at_most, LAYOUT, [parse_cost_budget(PRICES, cost, LAYOUT)])
    parse_limits("", at_most, LAYOUT, [parse_cost_budget(PRICES, 0, LAYOUT)])
    parse_limits("", "site=1", LAYOUT, [parse_cost_budget(PRICES, 5, LAYOUT)])


def test_frozen_heads_can_be_had_in_trained_numbers_only():
    budgets = torch.zeros(25)
    budgets[[6, 12]] = 1.0
    trained = trained_budgets(budgets)
    assert trained == [6, 12]
    check_trained([12, 6], trained, "a.pt")
    with pytest.raises(PruningError, match=r"a\.pt is frozen at 6 and 12 heads"):
        check_trained([7], trained, "a.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing: give a whole number from 0 to 5"),
        ("6", "6 is not a whole number from 0 to 5"),
        ("-1", "-1 is not"),
        ("2.5", "'2.5' is not"),
        ("", "'' is not"),
        ("2,2", "names a budget twice"),
    ],
)
def test_what_is_no_budget(text, message):
    with pytest.raises(PruningError, match=message):
        parse_budgets(text, 5)
