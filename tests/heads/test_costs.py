"""Prices and budgets from their flags and from files."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import yaml

from dsp_fairseq.errors import PruningError
from dsp_fairseq.estimators import CostBudget, leaves_no_choice
from dsp_fairseq.heads.costs import parse_cost_budget, resolve_costs
from dsp_fairseq.heads.layout import DECODER_SELF, ENCODER_SELF, HeadLayout, Site

LAYOUT = HeadLayout({Site(ENCODER_SELF, 0): 2, Site(DECODER_SELF, 0): 3})
PRICES = "encoder.self=0.1, decoder.self=4"


def test_each_head_has_the_price_of_its_kind():
    budget = parse_cost_budget(PRICES, "8.2", LAYOUT)
    tenth = Fraction(1, 10)
    assert budget == CostBudget((tenth, tenth, Fraction(4), Fraction(4), Fraction(4)), 82 * tenth)
    assert leaves_no_choice(parse_cost_budget(PRICES, 0, LAYOUT), 5)
    assert leaves_no_choice(parse_cost_budget(PRICES, "12.2", LAYOUT), 5), "all heads cost this"


def test_rounded_prices_do_not_close_a_head_where_all_are_paid_for():
    for price in ("1.0004", "0.9998"):
        budget = parse_cost_budget(f"encoder.self=1,decoder.self={price}", 5, LAYOUT)
        assert budget.limit == budget.total and leaves_no_choice(budget, 5)
    assert parse_cost_budget("encoder.self=1e-5,decoder.self=1", 3, LAYOUT).limit == 3


@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps])
def test_a_file_of_prices_is_replaced_by_what_it_says(tmp_path, write):
    path = tmp_path / "lr=0.1"
    path.write_text(write({"costs": {DECODER_SELF: 4, ENCODER_SELF: 0.1}, "seconds": {}}))
    assert resolve_costs(str(path)) == "decoder.self=4,encoder.self=0.1"
    assert parse_cost_budget(str(path), 3, LAYOUT) == parse_cost_budget(PRICES, 3, LAYOUT)


@pytest.mark.parametrize(
    ("costs", "limit", "message"),
    [
        (None, 3, "--cost-budget needs the prices of heads, --head-costs"),
        (PRICES, None, "--head-costs needs a budget for them: give --cost-budget C"),
        (PRICES, "-1", "-1 is not a number from 0 to 12.2, which all heads"),
        (PRICES, "12.3", "12.3 is not a number from 0 to 12.2"),
        (PRICES, "many", "many is not a number from 0"),
        (PRICES, "nan", "nan is not a number from 0"),
        (PRICES, "3,4", "3,4 is not a number from 0"),
        (PRICES, "1e-999999999", None),
        (PRICES, "1e999999999", "is not a number from 0"),
        (PRICES, 0.05, "0.05 pays for no head: the cheapest costs 0.1"),
        ("encoder.self=1", 3, "no price for decoder.self: write KIND=PRICE for every kind"),
        ("encoder.self=1,encoder.self=2", 3, "a kind has one price above 0"),
        (PRICES + ",decoder.cross=1", 3, "has the kinds encoder.self, decoder.self; write"),
        ("encoder.self=1,decoder.self=0", 3, "a kind has one price above 0"),
        ("encoder.self=1,decoder.self=-2", 3, "a kind has one price above 0"),
        ("encoder.self=1,decoder.self=inf", 3, "a kind has one price above 0"),
        ("encoder.self=1e308,decoder.self=1e308", 3, "a kind has one price above 0"),
        ("encoder.self=1,decoder.self=", 3, "a kind has one price above 0"),
        ("encoder.self=1e-9,decoder.self=1", 2, "differ by more than a factor of a million"),
        ("no.yaml", 3, "cannot read --head-costs no.yaml: No such file"),
    ],
)
def test_mistakes_are_named(costs, limit, message):
    if message is None:
        assert parse_cost_budget(costs, limit, LAYOUT).limit == 0
        return
    with pytest.raises(PruningError) as error:
        parse_cost_budget(costs, limit, LAYOUT)
    assert message in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no file of dsp-measure"),
        (b"\xff\xfe", "is no file of dsp-measure"),
        (b"seconds: {}", "holds no 'costs'"),
        (b"costs: 3", "holds no 'costs'"),
        (b"costs: {}", "holds no 'costs'"),
        (b"", "holds no 'costs'"),
        (b"costs: {encoder.self: [1], decoder.self: 2}", "a kind has one price above 0"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "costs.yaml"
    path.write_bytes(content)
    with pytest.raises(PruningError) as error:
        parse_cost_budget(str(path), 3, LAYOUT)
    assert message in error.value.message
