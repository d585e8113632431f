"""The output of one whole run of fairseq-generate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import PruningError
from ..files import read_text

_RECORD = re.compile(r"([HT])-(\d+)(?:\t(.*))?")
_START_OF_RECORD = re.compile(r"[A-Z](-|$)")


@dataclass(frozen=True)
class Text:
    """A hypothesis (H-) or a reference (T-), in tokens, and its line in the file, from 1 on."""

    tokens: str
    line: int


@dataclass(frozen=True)
class Generated:
    """What fairseq-generate printed, in the order of the data.

    Attributes:
        path: the file.
        numbers: the places of the sentences in their split, from 0 on.
        hypotheses: the best translation of each.
        references: the target of each.
    """

    path: Path
    numbers: list[int]
    hypotheses: list[Text]
    references: list[Text]


def read_generated(path: Path) -> tuple[list[str], list[str]]:
    """Best hypotheses and references of fairseq-generate's output, in the order of the data.

    Raises:
        PruningError: as :func:`read_output`.
    """
    output = read_output(path)
    hypotheses, references = output.hypotheses, output.references
    return [text.tokens for text in hypotheses], [text.tokens for text in references]


def read_output(path: Path) -> Generated:
    """Reads fairseq-generate's standard output, or ``generate-*.txt`` of ``--results-path``.

    Raises:
        PruningError: the file cannot be read, or is not the unchanged output of one whole run.
    """
    *lines, rest = read_text(path).split("\n")
    if _START_OF_RECORD.match(rest):
        raise PruningError(f"{path}, line {len(lines) + 1} is cut off: it has no end of line")
    hypotheses: dict[int, Text] = {}
    references: dict[int, Text] = {}
    latest = None
    for line, content in enumerate(lines, start=1):
        if not (match := _RECORD.fullmatch(content)):
            continue
        kind, number, fields = match[1], int(match[2]), match[3]
        text = Text(_tokens(kind, fields, f"{path}, line {line}: {kind}-{number}"), line)
        texts = hypotheses if kind == "H" else references
        # With --nbest the best hypothesis comes first, and the others follow it.
        if number not in texts:
            texts[number] = text
        elif kind == "T" or number != latest:
            raise PruningError(
                f"{path}, line {line}: {kind}-{number} is also in line {texts[number].line}: give "
                "the output of one run"
            )
        latest = number if kind == "H" else latest
    _check_whole(path, hypotheses, references)
    numbers = sorted(hypotheses)
    return Generated(
        path,
        numbers,
        [hypotheses[number] for number in numbers],
        [references[number] for number in numbers],
    )


def _tokens(kind: str, fields: str | None, place: str) -> str:
    """The text of a record, which follows its number and, of a hypothesis, its score.

    Raises:
        PruningError: the record is not as fairseq-generate writes it.
    """
    parts = [] if fields is None else fields.split("\t")
    wanted = 2 if kind == "H" else 1
    if len(parts) < wanted:
        raise PruningError(
            f"{place} has no text, not even an empty one: the line is cut off, or an editor "
            "removed the blank at its end; generate again"
        )
    if len(parts) > wanted:
        raise PruningError(f"{place} runs into another record: generate again")
    if kind == "H":
        try:
            float(parts[0])
        except ValueError:
            raise PruningError(f"{place} has no score: generate again") from None
    return parts[-1]


def _check_whole(path: Path, hypotheses: dict[int, Text], references: dict[int, Text]) -> None:
    if not hypotheses:
        raise PruningError(
            f"{path} holds no hypothesis (H- lines): is it fairseq-generate's output?"
        )
    for kind, texts, other, others in (
        ("T", references, "H", hypotheses),
        ("H", hypotheses, "T", references),
    ):
        for number, text in texts.items():
            if number not in others:
                raise PruningError(
                    f"{path} is incomplete: {kind}-{number} in line {text.line} has no "
                    f"{other}-{number}"
                )
