"""Which sentence pairs are kept, and how they reach their splits."""

from __future__ import annotations

import pytest
from pair_corpus import (
    KEPT,
    DuplicateRule,
    LengthRule,
    Occurrences,
    Sentence,
    Tally,
    clean_pairs,
    keep_pairs,
    no_empty_side,
    split_files,
)

from dsp_text.errors import TextError


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


@pytest.mark.parametrize("other", ["cafe\u0301", "caf\u200be\u0301", "ｃａｆé"])
def test_what_looks_the_same_is_the_same(other):
    rule, occurrences = DuplicateRule(), Occurrences()
    assert rule(("café", "a")) is None
    assert rule((other, "a")) == "duplicate"
    for pair in (("café", "a"), (other, "b"), ("tea", "c")):
        occurrences.add(pair)
    assert occurrences.unique() == [2]


def test_unique_pairs_share_neither_side():
    seen = Occurrences()
    for pair in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "z"), ("b", "w")]:
        seen.add(pair)
    assert seen.unique() == [3]


def test_the_first_reason_is_counted():
    tally = Tally()
    rules = [no_empty_side, LengthRule(3, 1.5), DuplicateRule()]
    raw = [("A", "B"), ("", "B"), (words(4), words(4)), ("a", "b"), ("C", "D")]
    halves = [
        [(f"{name}, line {number}", pair[side]) for number, pair in enumerate(raw, start=1)]
        for side, name in enumerate(("de", "en"))
    ]
    kept = list(keep_pairs(clean_pairs(halves, (str.lower, str.lower)), rules, tally))
    assert kept == [
        (Sentence("de, line 1", "A", "a"), Sentence("en, line 1", "B", "b")),
        (Sentence("de, line 5", "C", "c"), Sentence("en, line 5", "D", "d")),
    ]
    assert tally.reasons == {KEPT: 2, "empty": 1, "longer than 3 words": 1, "duplicate": 1}
    assert str(tally).startswith("kept 2 of 5 pairs (left out: 1 ")
    assert tally.name_blanks() == "de, line 2"


def test_a_long_tally_is_cut_short():
    tally = Tally()
    tally.reasons[KEPT] = 1234
    assert str(tally) == "kept 1,234 of 1,234 pairs (left out: none)"
    tally.blanks = [f"a, line {number}" for number in range(1, 2014)] + ["a, line, line 7"]
    numbers = ", ".join(map(str, range(1, 11)))
    assert tally.name_blanks() == f"a, line {numbers} and 2,003 more; a, line, line 7"


def test_splits_are_read_as_they_were_written(tmp_path):
    pairs = [
        (Sentence(f"x, line {i}", f"Ä{i}", f"ä{i}"), Sentence(f"y, line {i}", f"B{i}", f"b{i}"))
        for i in range(5)
    ]
    with split_files(tmp_path, ("de", "en")) as files:
        for number, pair in enumerate(pairs):
            files.write("odd" if number % 2 else "even", pair)
        assert list(files.pairs("odd")) == pairs[1::2]
        assert list(files.pairs("even")) == pairs[::2]
        assert files.lines == {"odd": 2, "even": 3}
        assert list(files.read("odd", "en", "raw")) == ["B1", "B3"]
        with pytest.raises(TextError, match="no pair is left for train"):
            files.describe()
