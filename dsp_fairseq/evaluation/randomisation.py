"""Paired tests between translations, by sacreBLEU, on what fairseq-generate printed.

Approximate randomisation (Riezler and Maxwell 2005): sentences are exchanged between two systems at
random, and p is the share of exchanges that make at least the difference found. Of equally good
systems 3 % come below p = 0.05; of sacreBLEU's paired bootstrap 10 % did, since that folds the
differences before it takes off their mean.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest, Result

from dsp_text.subwords import join_subwords

from ..errors import PruningError
from .bleu import bleu_metric, plain_texts
from .generated import read_generated
from .paired import Output, Paired
from .references import read_references

TRIALS = 1000
SEED = 12345


class Texts:
    """A test set as some models translated it: a :class:`~.paired.PairedTests`.

    Args:
        outputs: by name; those that are not of one whole run are left out.
        data: the prepared folder: BLEU is then that of ``dsp-score``, of plain text. Without it,
            BLEU is that of the tokens as they stand.
    """

    def __init__(self, outputs: Mapping[str, Output], data: Path | None) -> None:
        self.on_scores = data is not None
        on = "detokenised text" if data else "tokenised text, since the data is not there as it was"
        self.method = f"Paired approximate randomisation on {on}"
        self._outputs = outputs
        self._known = None if data is None else read_references(data, "test")
        words = join_subwords("bpe")
        self._texts: dict[str, tuple[list[str], list[str]]] = {}
        for name, output in outputs.items():
            with suppress(PruningError):
                if self._known is not None:
                    self._texts[name] = plain_texts(output.path, self._known)
                else:
                    generated, targets = read_generated(output.path)
                    self._texts[name] = list(map(words, generated)), list(map(words, targets))

    def _metric(self, name: str) -> BLEU:
        """The metric that fits these texts, with the tokeniser that a model was scored with."""
        if self._known is None:
            return BLEU(tokenize="none", force=True)
        return bleu_metric(self._outputs[name].signature, self._known[0].lowercase)

    def compare(self, baseline: str, models: Sequence[str]) -> Mapping[str, Paired]:
        """Tests models against a baseline, with the same exchanges of sentences."""
        expected, references = self._texts.get(baseline, ([], []))
        texts = {name: self._texts[name] for name in models if name in self._texts}
        systems = {name: own for name, (own, its) in texts.items() if its == references}
        if not systems:
            return {}
        logging.getLogger("sacrebleu").setLevel(logging.WARNING)
        # sacreBLEU takes its seed from the environment only.
        os.environ["SACREBLEU_SEED"] = str(SEED)
        signatures, scores = PairedTest(
            [("baseline", expected), *systems.items()],
            {"BLEU": self._metric(baseline)},
            [references],
            test_type="ar",
            n_samples=TRIALS,
        )()
        # Beside them sacreBLEU returns the systems' names under another key.
        results = [result for result in scores["BLEU"] if isinstance(result, Result)]
        base, signature = results[0].score, f"BLEU|{signatures['BLEU']}"
        tests, metric = {}, self._metric(baseline)
        for name, result in zip(systems, results[1:], strict=True):
            # sacreBLEU counts the exchanges that make more than the difference found. Where few
            # sentences differ, many make just as much: of m, two of 2 ** m at the least.
            m = _differing(metric, expected, systems[name], references)
            p = max(result.p_value or 0.0, min(1.0, 2.0 ** (1 - m)))
            tests[name] = Paired(result.score - base, 1.0 if result.score == base else p, signature)
        return tests


def _differing(
    metric: BLEU, one: Sequence[str], other: Sequence[str], references: Sequence[str]
) -> int:
    """How many sentences count otherwise in the two; another wrong word counts the same."""

    def counts(text: str, reference: str) -> tuple[Any, ...]:
        score = metric.corpus_score([text], [[reference]])
        return tuple(score.counts), tuple(score.totals), score.sys_len, score.ref_len

    triples = zip(one, other, references, strict=True)
    return sum(a != b and counts(a, its) != counts(b, its) for a, b, its in triples)
