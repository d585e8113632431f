"""Budgets and floors."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.analysis.head_map import read_head_map
from dsp_fairseq.errors import PruningError
from dsp_fairseq.heads.budget import (
    check_floors,
    check_trained,
    parse_budget,
    parse_budgets,
    parse_floors,
    trained_budgets,
)
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


def test_floors_are_kinds_with_counts():
    floors = parse_floors("decoder.self=2, encoder.self=1", LAYOUT)
    assert floors == (((2, 3, 4), 2), ((0, 1), 1))
    check_floors("", floors, 3)
    with pytest.raises(PruningError, match="2 is below the 3 heads"):
        check_floors("x", floors, 2)
    for text in ("encoder=1", "encoder.self", "encoder.self=-1", "encoder.self=3"):
        with pytest.raises(PruningError, match="--keep-at-least"):
            parse_floors(text, LAYOUT)


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


def test_floors_are_of_the_kinds_that_the_model_has():
    assert parse_floors("", LAYOUT) == ()
    assert parse_floors("decoder.self=3, encoder.self=1", LAYOUT) == (
        ((2, 3, 4), 3),
        ((0, 1), 1),
    )
    for text, message in {
        "decoder.cross=1": "KIND one of encoder.self, decoder.self",
        "encoder.self": "write KIND=COUNT",
        "encoder.self=-1": "write KIND=COUNT",
        "encoder.self=1,encoder.self=1": "each kind once",
        "encoder.self=3": "the model has 2 encoder.self heads",
    }.items():
        with pytest.raises(PruningError, match=message):
            parse_floors(text, LAYOUT)
