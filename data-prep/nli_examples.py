"""Labelled sentences and pairs of sentences: the files that hold them, found and read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pair_corpus import SPLITS
from raw_text import Line, read_lines

from dsp_text.errors import TextError

UNLABELLED = "-"
"""What MNLI and SNLI say where the annotators disagree."""

_LABELS = ("gold_label", "label")
_SENTENCES: tuple[tuple[str, ...], ...] = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("sentence",),
    ("text",),
)
"""Names of the sentences in headers and JSON objects; the first that are all there count."""

_SPLIT_NAMES = {
    "train": {"train", "training"},
    "valid": {"valid", "validation", "val", "dev"},
    "test": {"test"},
}
_ENDS = (".jsonl", ".tsv", ".txt")
"""Of data files, before ``.gz``; MNLI and SNLI are distributed as the first and the last."""


class Example(NamedTuple):
    """A label and one or two sentences, with the place in the user's file."""

    place: str
    label: str
    sentences: tuple[str, ...]


# ---- finding


def find_splits(folder: Path, given: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files of the splits in a folder, but for those given.

    A dev file that is called mismatched is the test split, as MNLI has no other with labels.
    """
    if not folder.is_dir():
        raise TextError(f"there is no folder or file {folder}; give another --from")
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in sorted(folder.iterdir()):
        split = _split_of(path)
        if split is not None:
            found[split].append(path)
    paths = {}
    for split, candidates in found.items():
        best = [p for end in _ENDS for p in candidates if _end(p) == end]
        best = [p for p in best if _end(p) == _end(best[0])]
        if split in given:
            paths[split] = given[split]
        if split in given or not best:
            continue
        if len(best) > 1:
            names = ", ".join(path.name for path in best)
            raise TextError(f"{folder} has several files for {split}: {names}; give --{split} FILE")
        paths[split] = best[0]
    for split in SPLITS[:2]:
        if split not in paths:
            raise TextError(
                f"{folder} has no file that is called {split} (.jsonl or .tsv, plain or .gz); "
                f"give --{split} FILE"
            )
    return paths


def _end(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _split_of(path: Path) -> str | None:
    words = set(re.split(r"[^a-z]+", path.name.lower()))
    if path.name.startswith(".") or _end(path) not in _ENDS or not path.is_file():
        return None
    named = [split for split, names in _SPLIT_NAMES.items() if words & names]
    if named == ["valid"] and "mismatched" in words:
        return "test"
    return named[0] if len(named) == 1 else None


# ---- reading


def read_examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a file of JSON lines or of columns between tabs, plain or gzipped.

    Columns are label, sentence or label, sentence, sentence; or the first line names them.
    """
    read = _read_objects if _end(path) == ".jsonl" else _read_columns
    for place, label, sentences in read(path):
        label = "_".join(label.split())
        if not label:
            raise TextError(f"{place}: the label is empty; give one, or {UNLABELLED} for none")
        yield Example(place, label, tuple(" ".join(s.split()) for s in sentences))


def _read_objects(path: Path) -> Iterator[tuple[str, str, Sequence[str]]]:
    names: Sequence[str] | None = None
    for place, line in read_lines(path):
        try:
            record = json.loads(line)
        except ValueError:
            raise TextError(f"{place}: not JSON; give a file with an object a line") from None
        if not isinstance(record, dict):
            raise TextError(f"{place}: no JSON object; give a file with an object a line")
        names = names or _names(record) or _unknown(place, record)
        values = [record.get(name) for name in names]
        if isinstance(values[0], int) and not isinstance(values[0], bool):
            values[0] = str(values[0])
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, str):
                raise TextError(f"{place}: {name} is {json.dumps(value)}, where text has to be")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise TextError(
                    f"{place}: {name} has half a character (\\uD800 to \\uDFFF); mend it"
                )
        yield place, values[0], values[1:]


def _read_columns(path: Path) -> Iterator[tuple[str, str, Sequence[str]]]:
    lines = read_lines(path)
    first = next(lines)
    header = [cell.strip().lower() for cell in first[1].split("\t")]
    names = _names(header)
    if names is None and {*header} & {*_LABELS, *chain(*_SENTENCES)}:
        _unknown(first[0], header)
    if names is None:
        if len(header) not in (2, 3):
            raise TextError(
                f"{first[0]}: {_count(header)} between tabs, where 2 (label, sentence) or 3 "
                "(label, premise, hypothesis) have to be, or a header that names them"
            )
        yield from _rows([first], range(len(header)), len(header))
    columns = range(len(header)) if names is None else [header.index(name) for name in names]
    yield from _rows(lines, columns, len(header))


def _rows(
    lines: Iterator[Line] | Sequence[Line], columns: Sequence[int], width: int
) -> Iterator[tuple[str, str, Sequence[str]]]:
    for place, line in lines:
        cells = line.split("\t")
        if len(cells) != width:
            raise TextError(
                f"{place}: {_count(cells)} between tabs, where the first line has {width}; "
                "mend or remove the line"
            )
        label, *sentences = (cells[column] for column in columns)
        yield place, label, sentences


def _names(known: Any) -> list[str] | None:
    """The names of the label and the sentences, if they are all there."""
    label = next((name for name in _LABELS if name in known), None)
    found = next((names for names in _SENTENCES if all(n in known for n in names)), None)
    return None if label is None or found is None else [label, *found]


def _unknown(place: str, names: Any) -> Any:
    raise TextError(
        f"{place}: none of the names {', '.join(names)} are known; call the label "
        f"{' or '.join(_LABELS)}, and the sentences {' or '.join(map(' and '.join, _SENTENCES))}"
    )


def _count(cells: Sequence[str]) -> str:
    return f"{len(cells)} column{'s' * (len(cells) != 1)}"
