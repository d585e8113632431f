"""Which sentence pairs are kept, and how they reach their splits."""

from __future__ import annotations

from collections import Counter

import pytest
from pair_corpus import (
    KEPT,
    DuplicateRule,
    LengthRule,
    Occurrences,
    describe_tally,
    keep_pairs,
    no_empty_side,
    read_split,
    split_files,
)


def words(count: int) -> str:
    return " ".join(["w"] * count)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (1, 1, None),
        (175, 175, None),
        (176, 176, "longer than 175"),
        (3, 2, None),
        (2, 3, None),
        (4, 2, "uneven"),
        (2, 4, "uneven"),
        (176, 2, "longer than 175"),
    ],
)
def test_lengths_at_the_limits(first, second, reason):
    found = LengthRule(175, 1.5)((words(first), words(second)))
    assert found is None if reason is None else reason in found


def test_words_have_a_limit_too():
    rule = LengthRule(175, 1.5)
    assert rule(("x" * 1000, "y")) is None
    assert "word of more than 1000" in rule(("a b", "y " + "x" * 1001))


@pytest.mark.parametrize("empty", ["", " ", "\u200b", "\x01\x02"])
def test_nothing_to_see_is_empty(empty):
    assert no_empty_side(("gut", empty)) == no_empty_side((empty, "gut")) == "empty"
    assert no_empty_side(("gut", "good")) is None


def test_pairs_are_compared_as_pairs():
    rule = DuplicateRule()
    pairs = [("a", "b"), ("a", "c"), ("a", "b"), ("c", "b"), ("b", "a"), ("a", "b")]
    assert [rule(pair) for pair in pairs] == [None, None, "duplicate", None, None, "duplicate"]


def test_unique_pairs_share_neither_side():
    seen = Occurrences()
    for pair in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "z"), ("b", "w")]:
        seen.add(pair)
    assert seen.unique() == [3]


def test_the_first_reason_is_counted():
    tally: Counter[str] = Counter()
    rules = [no_empty_side, LengthRule(3, 1.5), DuplicateRule()]
    raw = [("A", "B"), ("", "B"), (words(4), words(4)), ("a", "b"), ("C", "D")]
    kept = list(keep_pairs(raw, (str.lower, str.lower), rules, tally))
    assert kept == [(("A", "B"), ("a", "b")), (("C", "D"), ("c", "d"))]
    assert tally == {KEPT: 2, "empty": 1, "longer than 3 words": 1, "duplicate": 1}
    assert describe_tally(tally).startswith("kept 2 of 5 pairs (left out: 1 ")
    assert describe_tally(Counter({KEPT: 1234})) == "kept 1,234 of 1,234 pairs (left out: none)"


def test_splits_are_read_as_they_were_written(tmp_path):
    pairs = [((f"Ä{i}", f"B{i}"), (f"ä{i}", f"b{i}")) for i in range(5)]
    with split_files(tmp_path, ("de", "en")) as files:
        for number, pair in enumerate(pairs):
            files.write("odd" if number % 2 else "even", *pair)
    assert list(read_split(tmp_path, "odd", ("de", "en"))) == pairs[1::2]
    assert list(read_split(tmp_path, "even", ("de", "en"))) == pairs[::2]
