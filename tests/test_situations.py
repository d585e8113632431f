"""The table of situations names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/situations.md").read_text(encoding="utf-8")
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| situation")
]


@pytest.mark.parametrize("row", ROWS)
def test_a_situation_has_a_test(row):
    situation, outcome, tests = (cell.strip() for cell in row.strip("|").split(" | "))
    assert situation and outcome
    for test in tests.split(", "):
        path, name = re.fullmatch(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", test).groups()
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {name or 'test_[a-z_0-9]+'}[(]", text, re.MULTILINE)


def test_the_table_is_large():
    assert len(ROWS) == len(set(ROWS)) >= 20
