"""The words of a sentence: punctuation, tokens and case, and the way back to plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex
from sacremoses import MosesDetokenizer, MosesPunctNormalizer, MosesTokenizer

from .blank import is_blank
from .language import without_region


class Cleaner:
    """Normalises the punctuation of one language's sentences, then tokenises and lowercases."""

    def __init__(
        self,
        language: str,
        *,
        tokenize: bool,
        lowercase: bool,
        normalize: bool = True,
        escape: bool = False,
    ) -> None:
        language = without_region(language)
        self._normalizer = MosesPunctNormalizer(lang=language) if normalize else None
        self._tokenizer = MosesTokenizer(lang=language) if tokenize else None
        self._detokenizer = MosesDetokenizer(lang=language) if tokenize else None
        self._lowercase = lowercase
        self._escape = escape

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], side: str) -> Cleaner:
        """Return the cleaner that a prep.json's settings name for the source or target."""
        return cls(
            settings[side],
            tokenize=settings["tokenized"],
            lowercase=settings["lowercase"],
            normalize=settings["normalized"],
            escape=settings["escaped"],
        )

    def __call__(self, sentence: str) -> str:
        """Return the words of a sentence between single spaces; nothing where none can be seen."""
        text = sentence
        if self._normalizer is not None:
            text = self._normalizer.normalize(text)
        if self._tokenizer is not None:
            # Unescaped by default: a detokeniser then sees the very characters of the text.
            text = self._tokenizer.tokenize(text, escape=self._escape, return_str=True)
        # The tokeniser knows abbreviations by their case, so case goes last.
        text = " ".join((text.lower() if self._lowercase else text).split())
        return "" if is_blank(text) else text

    def restore(self, words: str) -> str:
        """Return plain text for words: the inverse, but for normalised punctuation and case."""
        for apart, whole in _TAKEN_APART:
            words = words.replace(apart, whole)
        if self._detokenizer is None:
            return words
        for pattern in _WITHIN_WORDS:
            words = pattern.sub(r"\1", words)
        text = self._detokenizer.detokenize(words.split())
        for pattern in _AROUND_MARKS:
            text = pattern.sub(r"\1", text)
        return text


# Thai and Lao vowels that SentencePiece's normalisation (NFKC) writes as two.
_TAKEN_APART = (("\u0e4d\u0e32", "\u0e33"), ("\u0ecd\u0eb2", "\u0eb3"))

# The tokeniser parts every script at what is neither letter nor digit, and the detokeniser joins
# by the rules of the Latin one. These rules join the rest; none of them meets Latin text.
_WITHIN_WORDS = [
    regex.compile(pattern)
    for pattern in (
        # Signs over or under a letter, invisible joiners, and the Armenian signs within a word.
        r"(?<=\S) ([\p{M}\u200c\u200d\u055b-\u055e]+)(?: (?=[\p{L}\p{M}])|(?= |$))",
        # Apostrophes: Ukrainian and Belarusian before a vowel with [j], Hebrew within words, where
        # the double one stands before the last letter.
        r"(?<=\p{Cyrillic}) (') (?=[яюєїіеёЯЮЄЇІЕЁ])",
        r"(?<=\p{Hebrew}) (['׳]) (?=\p{Hebrew})",
        r"(?<=\p{Hebrew}) ([\"״]) (?=\p{Hebrew}(?!\p{Hebrew}))",
    )
]
_AROUND_MARKS = [
    regex.compile(pattern)
    for pattern in (
        # What ends a clause stands close to it: ، ؟ ।
        r" ((?![\x00-\x7f])\p{Terminal_Punctuation})",
        # Tibetan and East Asian marks have their space within.
        r" ?((?=\p{P})[\u0f0b\u3001-\u301f\u30fb\uff01-\uff65]) ?",
    )
]
