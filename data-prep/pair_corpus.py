"""Sentence pairs on their way into splits: which are kept, and the files they are written to."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from prep_common import PrepError
from prepare_text import Corpus, TextSettings, check_raw, clean_path, read_lines
from text_pipeline import Cleaner

Pair = tuple[str, str]
Rule = Callable[[Pair], "str | None"]
"""Says why a cleaned pair is left out, or None."""

LONGEST_WORD = 1000
"""Characters; the limit of Moses' clean-corpus-n, too."""

KEPT = "kept"


def no_empty_side(pair: Pair) -> str | None:
    """Leave out pairs of which a side shows nothing."""
    visible = (any(mark.isprintable() and mark != " " for mark in side) for side in pair)
    return None if all(visible) else "empty"


@dataclass(frozen=True)
class LengthRule:
    """Leaves out long and uneven pairs; lengths are in words, as the cleaned text has them.

    The limits themselves are allowed, and the ratio is that of the longer side to the other, as
    in Moses' clean-corpus-n.
    """

    longest: int
    ratio: float

    def __call__(self, pair: Pair) -> str | None:
        """Say why this pair, neither side of which is empty, is left out."""
        words = [side.split(" ") for side in pair]
        shorter, longer = sorted(map(len, words))
        if longer > self.longest:
            return f"longer than {self.longest} words"
        if longer / shorter > self.ratio:
            return f"uneven, ratio above {self.ratio:g}"
        if any(len(word) > LONGEST_WORD for side in words for word in side):
            return f"with a word of more than {LONGEST_WORD} characters"
        return None


class DuplicateRule:
    """Leaves out pairs that came before."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __call__(self, pair: Pair) -> str | None:
        """Say whether this pair came before, and remember it."""
        known = len(self._seen)
        self._seen.add(digest("\n".join(pair)))
        return None if len(self._seen) > known else "duplicate"


class Occurrences:
    """Remembers the sentences of every pair, 16 bytes a pair."""

    def __init__(self) -> None:
        self._digests = (array("Q"), array("Q"))

    def add(self, pair: Pair) -> None:
        """Remember a pair."""
        for side, digests in zip(pair, self._digests, strict=True):
            digests.append(digest(side))

    def unique(self) -> list[int]:
        """Return the positions of the pairs that share neither sentence with another."""
        first, second = (_occurs_once(np.asarray(digests)) for digests in self._digests)
        return np.flatnonzero(first & second).tolist()


def _occurs_once(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[inverse] == 1


def digest(text: str) -> int:
    """Return 64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def keep_pairs(
    pairs: Iterable[Pair], cleaners: Sequence[Cleaner], rules: Sequence[Rule], tally: Counter[str]
) -> Iterator[tuple[Pair, Pair]]:
    """Yield the pairs that no rule leaves out, raw and cleaned; count all in `tally`."""
    for raw in pairs:
        first, second = (clean(side) for clean, side in zip(cleaners, raw, strict=True))
        cleaned = (first, second)
        reason = next(filter(None, (rule(cleaned) for rule in rules)), KEPT)
        tally[reason] += 1
        if reason == KEPT:
            yield raw, cleaned


def describe_tally(tally: Counter[str]) -> str:
    """Return in words what `keep_pairs` counted."""
    left_out = [f"{count:,} {reason}" for reason, count in tally.most_common() if reason != KEPT]
    return (
        f"kept {tally[KEPT]:,} of {tally.total():,} pairs"
        f" (left out: {'; '.join(left_out) or 'none'})"
    )


class SplitFiles:
    """The files that pairs are written to, raw and cleaned, one of each a split and language."""

    def __init__(self, work: Path, languages: Sequence[str], stack: ExitStack) -> None:
        self._work = work
        self._languages = languages
        self._stack = stack
        self._streams: dict[Path, TextIO] = {}

    def write(self, split: str, raw: Pair, cleaned: Pair) -> None:
        """Write a pair to its split."""
        for language, *texts in zip(self._languages, raw, cleaned, strict=True):
            paths = (raw_path(self._work, split, language), clean_path(self._work, split, language))
            for path, text in zip(paths, texts, strict=True):
                if path not in self._streams:
                    stream = path.open("x", encoding="utf-8", newline="\n")
                    self._streams[path] = self._stack.enter_context(stream)
                self._streams[path].write(f"{text}\n")


@contextmanager
def split_files(work: Path, languages: Sequence[str]) -> Iterator[SplitFiles]:
    """Yield the `SplitFiles` in a folder, open until the end."""
    with ExitStack() as stack:
        yield SplitFiles(work, languages, stack)


def read_split(work: Path, split: str, languages: Sequence[str]) -> Iterator[tuple[Pair, Pair]]:
    """Yield the pairs, raw and cleaned, that `SplitFiles` wrote to a split."""
    raw, cleaned = (
        zip(*(read_lines(path(work, split, language)) for language in languages), strict=True)
        for path in (raw_path, clean_path)
    )
    yield from zip(raw, cleaned, strict=True)


def raw_path(work: Path, split: str, language: str) -> Path:
    """Return where the raw text of one half lives while a folder is made."""
    return work / f"{split}.raw.{language}"


def corpus_of(work: Path, splits: Iterable[str], text: TextSettings) -> Corpus:
    """Return what `SplitFiles` wrote as a corpus; every split needs a pair."""
    corpus = {}
    for split in splits:
        paths = {language: raw_path(work, split, language) for language in text.languages}
        if not all(path.exists() for path in paths.values()):
            raise PrepError(f"no pair is left for {split}; give more text")
        corpus[split] = {language: check_raw(path) for language, path in paths.items()}
    return corpus
