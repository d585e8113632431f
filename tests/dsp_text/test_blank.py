"""What shows nothing is what no subword model makes a token of."""

from __future__ import annotations

import sys

import pytest
import sentencepiece

from dsp_text.blank import is_blank

INVISIBLE = {
    "nothing": "",
    "spaces": " \t\u00a0\u3000",
    "NUL": "\x00",
    "bell": "\x07",
    "unit separator": "\x1f",
    "next line": "\x85",
    "line separator": "\u2028",
    "zero-width space": "\u200b",
    "zero-width joiners": "\u200c\u200d",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "direction marks": "\u200e\u202b",
    "variation selector": "\ufe0f",
    "Hangul filler": "\u3164\u115f\uffa0",
    "empty Braille": "\u2800",
    "replacement character": "\ufffd",
    "object replacement": "\ufffc",
    "space of SentencePiece": "\u2581",
    "several": "\u200b \ufeff\u2581\ufffd",
}
VISIBLE = [
    "a",
    "-",
    "ä",
    "中",
    "\u00a8",
    "👨\u200d👩\u200d👧",
    "</s>",
    "@@",
    "\u2581a",
    "\u0000b",
    "\u0e49",
]


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_invisible_text_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", VISIBLE)
def test_visible_text_is_not(text):
    assert not is_blank(text)


def test_every_character_that_sentencepiece_drops_is_blank():
    """Its normalisation is always the same: emptiness is known before a model is learnt."""
    normalise = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").normalize
    characters = (chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000)
    visible = [character for character in characters if not is_blank(character)]
    assert len(visible) > 100_000
    assert [c for c in visible if not normalise(c).strip("\u2581 ")] == []
