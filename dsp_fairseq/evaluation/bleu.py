"""BLEU and chrF of what fairseq-generate printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF
from sacremoses import MosesDetokenizer

from ..errors import PruningError

SAME_REFERENCES = 50.0
"""References that went through the preparation and back have a BLEU well above this."""

_LINE = re.compile(r"^([HT])-(\d+)\t(.*)$")


@dataclass(frozen=True)
class Score:
    """A score from 0 to 100 and the sacreBLEU signature that names every setting behind it."""

    score: float
    signature: str


def read_generated(path: Path) -> tuple[list[str], list[str]]:
    """Best hypotheses and references of fairseq-generate's output, in the order of the data.

    Raises:
        PruningError: the file cannot be read, holds no hypothesis, or misses some.
    """
    lines: dict[str, dict[int, str]] = {"H": {}, "T": {}}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(f"cannot read {path}: {error}") from None
    for line in text.split("\n"):
        if match := _LINE.match(line):
            kind, number, rest = match.groups()
            sentence = rest.split("\t", 1)[-1] if kind == "H" else rest
            # With --nbest the best hypothesis comes first.
            lines[kind].setdefault(int(number), sentence)
    hypotheses, references = lines["H"], lines["T"]
    if not hypotheses:
        raise PruningError(
            f"{path} holds no hypothesis (H- lines): is it fairseq-generate's output?"
        )
    if set(references) != set(hypotheses):
        raise PruningError(f"{path} is incomplete: a sentence lacks its reference (T-) line")
    return [hypotheses[i] for i in sorted(hypotheses)], [references[i] for i in sorted(references)]


def join_subwords(subword: str) -> Callable[[str], str]:
    """What turns subword units into words again; it leaves whole words as they are."""
    if subword == "sentencepiece":
        return lambda line: (
            line.replace(" ", "").replace("\u2581", " ").strip() if "\u2581" in line else line
        )
    return lambda line: (line + " ").replace("@@ ", "").rstrip()


def tokenised_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """BLEU over the tokens as they stand, for comparison with papers that report it."""
    metric = BLEU(tokenize="none", force=True)
    return _score("BLEU", metric, hypotheses, references)


def detokenised_bleu(
    hypotheses: Sequence[str], references: Sequence[str], lowercase: bool
) -> Score:
    """sacreBLEU of plain text against the untouched references."""
    return _score("BLEU", BLEU(lowercase=lowercase), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str], lowercase: bool) -> Score:
    """chrF2 of plain text against the untouched references."""
    return _score("chrF2", CHRF(lowercase=lowercase), hypotheses, references)


def _score(
    name: str, metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]
) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(references)])
    return Score(round(result.score, 2), f"{name}|{metric.get_signature()}")


@dataclass(frozen=True)
class Prepared:
    """One split of a folder that ``data-prep/`` made, and how its text was prepared.

    Attributes:
        target: the language of the references.
        references: the untouched target side.
        words: turns the subword units of a line into words.
        lowercase: whether everything was lowercased.
        detokenise: turns the tokens of a line into plain text; None where nothing was tokenised.
    """

    target: str
    references: list[str]
    words: Callable[[str], str]
    lowercase: bool
    detokenise: Callable[[list[str]], str] | None

    def plain_text(self, lines: Sequence[str]) -> list[str]:
        """Lines of words as plain text."""
        if self.detokenise is None:
            return list(lines)
        return [self.detokenise(line.split()) for line in lines]


def read_prepared(data: Path, split: str) -> Prepared:
    """Reads the references of a split, and how it was prepared.

    Raises:
        PruningError: the folder is not one that ``data-prep/`` made, or it is damaged.
    """
    try:
        prep = json.loads((data / "prep.json").read_text(encoding="utf-8"))
        subword, target = prep["subword"], prep["target"]
        tokenized, lowercase = prep["tokenized"], prep["lowercase"]
        plain = (data / "raw" / f"{split}.tgt").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise PruningError(
            f"{data} is not a folder that data-prep/ made ({error}): BLEU of plain text needs the "
            "references that it keeps there"
        ) from None
    except (KeyError, TypeError) as error:
        raise PruningError(
            f"{data / 'prep.json'} is damaged ({error}): prepare the data again"
        ) from None
    return Prepared(
        target,
        plain.removesuffix("\n").split("\n"),
        join_subwords(subword),
        bool(lowercase),
        MosesDetokenizer(lang=target).detokenize if tokenized else None,
    )


def score_file(generated: Path, data: Path, split: str = "test") -> dict[str, Score]:
    """Scores an output of fairseq-generate against a folder that ``data-prep/`` made.

    Args:
        generated: the captured standard output, or ``generate-*.txt`` of ``--results-path``.
        data: the prepared folder, for its ``prep.json`` and plain references.
        split: which references, ``test`` or ``valid``.

    Returns:
        ``sacrebleu`` and ``chrf`` of plain text, and ``tokenised_bleu``.

    Raises:
        PruningError: unreadable files, or another number of sentences than the references have.
    """
    prepared = read_prepared(data, split)
    plain_references, lowercase = prepared.references, prepared.lowercase
    hypotheses, references = (
        [prepared.words(line) for line in side] for side in read_generated(generated)
    )
    if len(hypotheses) != len(plain_references):
        reason = (
            "fairseq-generate leaves out the last incomplete batch unless it is given "
            "--required-batch-size-multiple 1"
            if len(hypotheses) < len(plain_references)
            else "it was made from another split or other data; --split says which"
        )
        raise PruningError(
            f"{generated} has {len(hypotheses)} sentences, the {split} split of {data} has "
            f"{len(plain_references)}: {reason}"
        )

    same = detokenised_bleu(prepared.plain_text(references), plain_references, lowercase).score
    if same < SAME_REFERENCES:
        raise PruningError(
            f"the references (T-) in {generated} are not those of the {split} split of {data}: it "
            f"was made from other data, or not into its target language {prepared.target}"
        )
    translations = prepared.plain_text(hypotheses)
    return {
        "sacrebleu": detokenised_bleu(translations, plain_references, lowercase),
        "chrf": chrf(translations, plain_references, lowercase),
        "tokenised_bleu": tokenised_bleu(hypotheses, references),
    }
