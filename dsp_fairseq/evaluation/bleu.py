"""BLEU and chrF of what fairseq-generate printed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

from dsp_text.language import without_region

from ..errors import PruningError
from .generated import read_output
from .references import References, check_references, read_references

logger = logging.getLogger(__name__)

TOKENIZERS = sorted(BLEU.TOKENIZERS)
"""What sacreBLEU can divide plain text into words with."""

_OF_LANGUAGE = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"} | dict.fromkeys(
    # Written without spaces too, but without a tokeniser of their own.
    ("th", "lo", "km", "my", "bo"),
    "char",
)

_TWO_LETTERS = {
    **dict.fromkeys(("zho", "chi", "cmn", "yue", "cn"), "zh"),
    **dict.fromkeys(("jpn", "jp"), "ja"),
    **dict.fromkeys(("kor", "kr"), "ko"),
    **{"tha": "th", "lao": "lo", "khm": "km", "mya": "my", "bur": "my", "bod": "bo", "tib": "bo"},
}
"""Other codes of these languages: ISO 639-2 and 639-3, and those of countries."""


@dataclass(frozen=True)
class Score:
    """A score from 0 to 100 and the sacreBLEU signature that names every setting behind it.

    Attributes:
        score: the score.
        signature: sacreBLEU's.
        ceiling: the score of the reference itself, put through the preparation and back, where
            that loses something.
    """

    score: float
    signature: str
    ceiling: float | None = None

    def record(self) -> dict[str, Any]:
        """What result files and ``--json`` hold."""
        record = {"score": self.score, "signature": self.signature}
        return record if self.ceiling is None else {**record, "ceiling": self.ceiling}

    def __str__(self) -> str:
        ceiling = "" if self.ceiling is None else f"   ceiling {self.ceiling:.2f}"
        return f"{self.score:6.2f}   {self.signature}{ceiling}"


def tokenizer_for(language: str) -> str:
    """sacreBLEU's tokeniser for a language: 13a, or its own of Chinese, Japanese and Korean.

    Those of Japanese and Korean need more than sacreBLEU: without it, characters are words, as
    they are in Thai and others that are written without spaces.
    """
    code = without_region(language)
    name = _OF_LANGUAGE.get(_TWO_LETTERS.get(code, code), "13a")
    try:
        BLEU(tokenize=name)
    except RuntimeError:
        logger.warning(
            "sacreBLEU's tokeniser %s is not installed (pip install 'sacrebleu[%s]'): BLEU is that "
            "of characters",
            name,
            name[:2],
        )
        return "char"
    return name


def bleu_metric(tokenize: str, lowercase: bool) -> BLEU:
    """sacreBLEU's metric for plain text.

    Args:
        tokenize: one of :data:`TOKENIZERS`, or a signature that names it.
        lowercase: whether case counts for nothing.

    Raises:
        PruningError: the tokeniser is unknown, or needs what is not there.
    """
    tokenize = tokenize.partition("|tok:")[2].partition("|")[0] or tokenize
    # The signature of some names their version too.
    names = [name for name in TOKENIZERS if tokenize.startswith(name)]
    try:
        return BLEU(lowercase=lowercase, tokenize=max(names, key=len))
    except Exception as error:  # a library or a download, whatever a tokeniser needs
        reason = " ".join(str(error).split())
        raise PruningError(f"cannot use sacreBLEU's tokeniser {tokenize}: {reason}") from None


def _score(
    metric: BLEU | CHRF,
    hypotheses: Sequence[str],
    references: Sequence[str],
    best: Sequence[str] | None = None,
) -> Score:
    """Scores hypotheses, and the best that there can be."""

    def score(lines: Sequence[str]) -> float:
        return round(metric.corpus_score(list(lines), [list(references)]).score, 2)

    name = "BLEU" if isinstance(metric, BLEU) else "chrF2"
    given, ceiling = score(hypotheses), 100.0 if best is None else score(best)
    signature = f"{name}|{metric.get_signature()}"
    return Score(given, signature, ceiling if ceiling < 100 else None)


def plain_texts(generated: Path, known: Sequence[References]) -> tuple[list[str], list[str]]:
    """Hypotheses and references of fairseq-generate's output as plain text.

    Args:
        generated: the output, which may hold other references.
        known: what :func:`~.references.read_references` gave of the same split.

    Raises:
        PruningError: as :func:`~.generated.read_output`, or another number of sentences, or other
            references.
    """
    output = read_output(generated)
    references = check_references(output, known)
    words = [references.words(text.tokens) for text in output.hypotheses]
    return [references.plain_text(line) for line in words], references.lines


def score_file(
    generated: Path, data: Path, split: str = "test", tokenize: str | None = None
) -> dict[str, Score]:
    """Scores an output of fairseq-generate against a folder that ``data-prep/`` made.

    Args:
        generated: the captured standard output, or ``generate-*.txt`` of ``--results-path``.
        data: the prepared folder, whose references are those of the output's direction.
        split: which references, ``test`` or ``valid``.
        tokenize: one of :data:`TOKENIZERS` (default: the one for the language).

    Returns:
        ``sacrebleu`` and ``chrf`` of plain text, and ``tokenised_bleu``.

    Raises:
        PruningError: unreadable files, an output that is not of one whole run, or other references.
    """
    output = read_output(generated)
    references = check_references(output, read_references(data, split))
    hypotheses = [references.words(text.tokens) for text in output.hypotheses]
    targets = [
        references.words_of(number, text.tokens)
        for number, text in zip(output.numbers, output.references, strict=True)
    ]
    if len(hypotheses) > 1 and hypotheses == targets:
        logger.warning(
            "every hypothesis of %s is its reference: if --score-reference or --prefix-size made "
            "it, the score says nothing of the model",
            generated,
        )
    translations, best = (
        [references.plain_text(line) for line in side] for side in (hypotheses, targets)
    )
    plain, lowercase = references.lines, references.lowercase
    bleu = bleu_metric(tokenize or tokenizer_for(references.language), lowercase)
    return {
        "sacrebleu": _score(bleu, translations, plain, best),
        "chrf": _score(CHRF(lowercase=lowercase), translations, plain, best),
        # For comparison with papers that report it.
        "tokenised_bleu": _score(BLEU(tokenize="none", force=True), hypotheses, targets),
    }
