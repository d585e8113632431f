"""Which text shows nothing."""

from __future__ import annotations

import regex

# Beside controls, separators and what Unicode calls ignorable (zero-width characters, fillers,
# variation selectors): signs that stand for nothing themselves. SentencePiece drops or splits at
# all of these, U+2581 being its own space.
_VISIBLE = regex.compile(r"[^\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\s\u2581\u2800\ufffc\ufffd]")


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen, so that no subword model makes a token of it."""
    return _VISIBLE.search(text) is None
