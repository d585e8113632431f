"""From words to a written sentence: spaces, commas, the capital and the final mark."""

from __future__ import annotations

from collections.abc import Iterable

COMMA = ","


def spell(words: Iterable[str], mark: str) -> str:
    """Join words into a sentence; a comma next to another or to the end is dropped."""
    text = ""
    for word in words:
        if word == COMMA:
            text = text.removesuffix(COMMA) + COMMA
        else:
            text += f" {word}"
    text = text.strip().removesuffix(COMMA)
    return f"{text[0].upper()}{text[1:]}{mark}"
