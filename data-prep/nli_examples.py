"""Labelled sentences and pairs of sentences: the files that hold them, found and read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pair_corpus import SPLITS
from prep_common import step
from raw_text import Line, read_lines

from dsp_text.errors import TextError

UNLABELLED = "-"
"""What MNLI and SNLI say where the annotators disagree."""

_LABELS = ("gold_label", "label")
_SENTENCES: tuple[tuple[str, ...], ...] = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("sentence", "sentence2"),
    ("sentence",),
    ("text",),
)
"""Names of the sentences in headers and JSON objects; the first that are all there count."""

_KNOWN = (
    f"call the label {' or '.join(_LABELS)}, and the sentences "
    f"{' or '.join(map(' and '.join, _SENTENCES))}"
)

_QUOTED = re.compile('"(?:[^"]|"")*"')
_Row = tuple[str, str, Sequence[str]]
"""Place, label, sentences."""

_EACH = 3
"""How often the other labels of a file come, in the mean, where one that comes once, in the first
line, is taken for the name of a column.
"""

_MOST_NAMED = 5

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
    quoted = 0
    for place, label, sentences in read(path):
        if read is _read_columns:
            quoted += sum(_QUOTED.fullmatch(cell) is not None for cell in (label, *sentences))
        label = _as_label(label)
        if not label:
            raise TextError(f"{place}: the label is empty; give one, or {UNLABELLED} for none")
        yield Example(place, label, tuple(" ".join(s.split()) for s in sentences))
    if quoted:
        step(
            f"note: {quoted:,} cells of {path.name} begin and end with a quotation mark, which is "
            "taken as text; write the file without quoting if it is not"
        )


def _read_objects(path: Path) -> Iterator[_Row]:
    names: Sequence[str] | None = None
    for place, line in read_lines(path):
        try:
            record = json.loads(line)
        except ValueError:
            raise TextError(f"{place}: not JSON; give a file with an object a line") from None
        if not isinstance(record, dict):
            raise TextError(f"{place}: no JSON object; give a file with an object a line")
        if names is None:
            names = _names(record) or _unknown(place, record)
            _say_unread(path, record, names)
        values = [record.get(name) for name in names]
        values[0] = _label(values[0])
        if values[0] is None:
            raise TextError(f'{place}: {names[0]} is null; give "{UNLABELLED}" for none')
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, str):
                raise TextError(f"{place}: {name} is {json.dumps(value)}, where text has to be")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise TextError(
                    f"{place}: {name} has half a character (\\uD800 to \\uDFFF); mend it"
                )
        yield place, values[0], values[1:]


def _as_label(text: str) -> str:
    """One word, as dictionaries have it."""
    return "_".join(text.split())


def _label(value: Any) -> Any:
    """Numbers as text; that of a class is whole, though some writers make 1.0 of it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _read_columns(path: Path) -> Iterator[_Row]:
    lines = read_lines(path)
    first = next(lines)
    header = [cell.strip().lower() for cell in first[1].split("\t")]
    names = _names(header)
    if names is None and {*header} & {*_LABELS, *chain(*_SENTENCES)}:
        _unknown(first[0], header)
    if names is None:
        if _is_json(first[1]):
            raise TextError(f"{first[0]}: JSON; call a file of JSON lines .jsonl")
        if len(header) not in (2, 3):
            raise TextError(
                f"{first[0]}: {_count(header)} between tabs, where 2 (label, sentence) or 3 "
                "(label, premise, hypothesis) have to be, or a header that names them"
            )
        yield from _no_header(_rows(chain([first], lines), range(len(header)), len(header)))
        return
    _say_unread(path, header, names)
    yield from _rows(lines, [header.index(name) for name in names], len(header))


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except ValueError:
        return False


def _no_header(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Pass rows on, and refuse a first one whose label looks like the name of a column."""
    first = next(rows)
    yield first
    own, number = _as_label(first[1]), Counter[str]()
    for row in rows:
        number[_as_label(row[1])] += 1
        yield row
    # Where most labels come once, they are no labels.
    repeat = len(number) > 1 and number.total() >= _EACH * len(number)
    if repeat and own not in (*number, UNLABELLED):
        raise TextError(
            f"{first[0]}: no other line has the label {own}. If this line names the columns, "
            f"{_KNOWN}; if it is an example, put a line with these names before it"
        )


def _rows(lines: Iterable[Line], columns: Sequence[int], width: int) -> Iterator[_Row]:
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
    raise TextError(f"{place}: none of the names {', '.join(names)} are known; {_KNOWN}")


def _say_unread(path: Path, there: Iterable[str], read: Sequence[str]) -> None:
    rest = [name for name in there if name not in read]
    if rest:
        more = f" and {len(rest) - _MOST_NAMED} more" if len(rest) > _MOST_NAMED else ""
        names = ", ".join(rest[:_MOST_NAMED])
        step(f"{path.name}: read {', '.join(read)}; not read {names}{more}")


def _count(cells: Sequence[str]) -> str:
    return f"{len(cells)} column{'s' * (len(cells) != 1)}"
