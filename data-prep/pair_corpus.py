"""Sentence pairs on their way into splits: which are kept, and the files they are written to."""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import regex
from prep_common import step
from raw_text import Line, RawFile, check_raw

from dsp_text.blank import is_blank
from dsp_text.cleaner import Cleaner
from dsp_text.errors import TextError

_UNSEEN = regex.compile(r"\p{Default_Ignorable_Code_Point}")

SPLITS = ("train", "valid", "test")


class Sentence(NamedTuple):
    """One side of a pair: its place in the user's file, as it came in, and cleaned."""

    place: str
    raw: str
    cleaned: str


Pair = tuple[Sentence, Sentence]
Rule = Callable[[tuple[str, str]], "str | None"]
"""Says why a pair, given as its cleaned sides, is left out, or None."""

LONGEST_WORD = 1000
"""Characters; the limit of Moses' clean-corpus-n, too."""

KEPT = "kept"
NAMED = 10
"""Lines of a file that a message names before it counts the others."""


def clean_pairs(halves: Sequence[Iterable[Line]], cleaners: Sequence[Cleaner]) -> Iterator[Pair]:
    """Yield the pairs of two halves that match line by line."""
    for lines in zip(*halves, strict=True):
        first, second = (
            Sentence(*line, clean(line[1])) for line, clean in zip(lines, cleaners, strict=True)
        )
        yield first, second


def no_empty_side(pair: tuple[str, str]) -> str | None:
    """Leave out pairs of which a side shows nothing."""
    return "empty" if any(map(is_blank, pair)) else None


@dataclass(frozen=True)
class LengthRule:
    """Leaves out long and uneven pairs; lengths are in words, as the cleaned text has them.

    The limits themselves are allowed, and the ratio is that of the longer side to the other, as
    in Moses' clean-corpus-n.
    """

    longest: int
    ratio: float

    def __call__(self, pair: tuple[str, str]) -> str | None:
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

    def __call__(self, pair: tuple[str, str]) -> str | None:
        """Say whether this pair came before, and remember it."""
        known = len(self._seen)
        self._seen.add(digest("\n".join(pair)))
        return None if len(self._seen) > known else "duplicate"


class Occurrences:
    """Remembers the sentences of every pair, 16 bytes a pair."""

    def __init__(self) -> None:
        self._digests = (array("Q"), array("Q"))

    def add(self, pair: tuple[str, str]) -> None:
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
    """Return 64 bits that stand for a text, and for what looks the same."""
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Tally:
    """What became of pairs: how many were kept, why others were not, where one shows nothing."""

    def __init__(self, noun: str = "pairs") -> None:
        self._noun = noun
        self.reasons: Counter[str] = Counter()
        self.blanks: list[str] = []

    def __str__(self) -> str:
        """Say what was kept and left out."""
        reasons = self.reasons.most_common()
        left_out = [f"{count:,} {reason}" for reason, count in reasons if reason != KEPT]
        return (
            f"kept {self.reasons[KEPT]:,} of {self.reasons.total():,} {self._noun}"
            f" (left out: {'; '.join(left_out) or 'none'})"
        )

    def say(self) -> None:
        """Tell the user what was kept and left out, and where nothing can be seen."""
        step(str(self))
        if self.blanks:
            step(f"empty: {self.name_blanks()}")

    def name_blanks(self) -> str:
        """Return the lines where nothing can be seen, file by file."""
        lines: dict[str, list[str]] = {}
        for place in self.blanks:
            name, _, number = place.rpartition(", line ")
            lines.setdefault(name, []).append(number)
        return "; ".join(
            f"{name}, line {', '.join(numbers[:NAMED])}"
            + (f" and {len(numbers) - NAMED:,} more" if len(numbers) > NAMED else "")
            for name, numbers in lines.items()
        )


def keep_pairs(pairs: Iterable[Pair], rules: Sequence[Rule], tally: Tally) -> Iterator[Pair]:
    """Yield the pairs that no rule leaves out, and count all in `tally`."""
    for pair in pairs:
        cleaned = (pair[0].cleaned, pair[1].cleaned)
        reason = next(filter(None, (rule(cleaned) for rule in rules)), KEPT)
        tally.reasons[reason] += 1
        tally.blanks += [sentence.place for sentence in pair if is_blank(sentence.cleaned)]
        if reason == KEPT:
            yield pair


class SplitFiles:
    """The files that pairs are written to while a data folder is made.

    Every split and language has the raw sentences, the cleaned ones and, unless it is trained on,
    their places in the user's files.

    Attributes:
        languages: the source and the target language.
        lines: how many pairs each split has.
    """

    def __init__(self, work: Path, languages: Sequence[str], stack: ExitStack) -> None:
        self.languages = languages
        self.lines: Counter[str] = Counter()
        self._work = work
        self._stack = stack
        self._streams: dict[tuple[str, str, str], TextIO] = {}

    def path(self, split: str, language: str, kind: str) -> Path:
        """Return the file of one half, with all that was written; kinds are Sentence's fields."""
        if not self.lines[split]:
            raise TextError(f"no pair is left for {split}; give more text")
        stream = self._streams[split, language, kind]
        stream.flush()
        return Path(stream.name)

    def write(self, split: str, pair: Pair) -> None:
        """Write a pair to its split."""
        self.lines[split] += 1
        for language, sentence in zip(self.languages, pair, strict=True):
            for kind, text in sentence._asdict().items():
                if split == "train" and kind == "place":
                    continue
                key = (split, language, kind)
                if key not in self._streams:
                    path = self._work / ".".join((split, kind, language))
                    stream = path.open("x", encoding="utf-8", newline="\n")
                    self._streams[key] = self._stack.enter_context(stream)
                self._streams[key].write(f"{text}\n")

    def read(self, split: str, language: str, kind: str) -> Iterator[str]:
        """Yield what was written of one half."""
        with self.path(split, language, kind).open(encoding="utf-8", newline="\n") as stream:
            for line in stream:
                yield line.removesuffix("\n")

    def pairs(self, split: str) -> Iterator[Pair]:
        """Yield the pairs of a split, which is not trained on."""
        first, second = (
            map(Sentence, *(self.read(split, language, kind) for kind in Sentence._fields))
            for language in self.languages
        )
        yield from zip(first, second, strict=True)

    def describe(self) -> dict[str, object]:
        """Return the line counts and hashes of the raw text; every split needs a pair."""
        raw = {
            split: {
                language: check_raw(self.path(split, language, "raw"))
                for language in self.languages
            }
            for split in SPLITS
        }
        return describe(raw)


@contextmanager
def split_files(work: Path, languages: Sequence[str]) -> Iterator[SplitFiles]:
    """Yield the `SplitFiles` in a folder, open until the end."""
    with ExitStack() as stack:
        yield SplitFiles(work, languages, stack)


def describe(corpus: Mapping[str, Mapping[str, RawFile]]) -> dict[str, object]:
    """Return what prep.json says of the raw text of every split and language, flat."""
    lines = {f"lines_{split}": next(iter(half.values())).lines for split, half in corpus.items()}
    return lines | {
        f"sha256_{split}_{language}": half.sha256
        for split, halves in corpus.items()
        for language, half in sorted(halves.items())
    }
