"""Paired bootstrap between runs, by sacreBLEU, on what fairseq-generate printed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest, Result

from ..errors import PruningError
from ..evaluation.bleu import join_subwords, read_generated, read_prepared
from ..experiments.results import FinishedRun

RESAMPLES = 1000
BOOTSTRAP_SEED = 12345
SIGNIFICANT = 0.05


@contextmanager
def _seeded() -> Iterator[None]:
    """sacreBLEU takes its seed from the environment; here it is always ours."""
    name = "SACREBLEU_SEED"
    before = os.environ.get(name)
    os.environ[name] = str(BOOTSTRAP_SEED)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@dataclass(frozen=True)
class Paired:
    """A paired bootstrap of one run against another.

    Attributes:
        difference: BLEU of the run less that of the baseline.
        p_value: chance of a difference as large if the two were equally good.
        signature: sacreBLEU's, with seed and number of resamples.
    """

    difference: float
    p_value: float
    signature: str

    @property
    def significant(self) -> bool:
        """Whether p is below :data:`SIGNIFICANT`."""
        return self.p_value < SIGNIFICANT


class Texts:
    """The test sets as the runs of one recipe translated them, each read once.

    Args:
        data: the prepared folder: BLEU is then that of ``dsp-score``, of plain text. Without it,
            BLEU is that of the tokens as they stand.
    """

    def __init__(self, data: Path | None) -> None:
        self._cache: dict[Path, tuple[list[str], list[str]]] = {}
        self._prepared = None if data is None else read_prepared(data, "test")

    def metric(self) -> BLEU:
        """The metric that fits these texts."""
        if self._prepared is not None:
            return BLEU(lowercase=self._prepared.lowercase)
        return BLEU(tokenize="none", force=True)

    def read(self, run: FinishedRun) -> tuple[list[str], list[str]]:
        """Hypotheses and references of a run's test set.

        Raises:
            PruningError: there is no complete ``test.out``, or it is of another test set.
        """
        path = run.folder / "test.out"
        if path not in self._cache:
            prepared = self._prepared
            words = join_subwords("bpe") if prepared is None else prepared.words
            hypotheses, references = (
                [words(line) for line in side] for side in read_generated(path)
            )
            if prepared is not None:
                if len(hypotheses) != len(prepared.references):
                    raise PruningError(
                        f"{path} has {len(hypotheses)} sentences, the test split has "
                        f"{len(prepared.references)}"
                    )
                references = prepared.references
                hypotheses = prepared.plain_text(hypotheses)
            self._cache[path] = hypotheses, references
        return self._cache[path]

    def compare(self, baseline: FinishedRun, runs: Sequence[FinishedRun]) -> Mapping[str, Paired]:
        """Tests runs against a baseline on the same resampled test sets.

        Returns:
            the result by the id of each run that could be compared; a run without a complete
            ``test.out`` of the same test set is left out.
        """
        try:
            expected, references = self.read(baseline)
        except PruningError:
            return {}
        systems = []
        for run in runs:
            try:
                hypotheses, own = self.read(run)
            except PruningError:
                continue
            if own == references:
                systems.append((run.id, hypotheses))
        if not systems:
            return {}
        logging.getLogger("sacrebleu").setLevel(logging.WARNING)
        with _seeded():
            signatures, scores = PairedTest(
                [("baseline", expected), *systems],
                {"BLEU": self.metric()},
                [references],
                test_type="bs",
                n_samples=RESAMPLES,
            )()
        # Beside them sacreBLEU returns the systems' names under another key.
        baseline_result, *others = (r for r in scores["BLEU"] if isinstance(r, Result))
        ours = baseline_result.score
        signature = f"BLEU|{signatures['BLEU']}"
        return {
            name: Paired(
                result.score - ours,
                # Two outputs of the same score differ in no resample by more than nothing, which
                # sacreBLEU would count as the smallest p there is.
                1.0 if result.score == ours or result.p_value is None else result.p_value,
                signature,
            )
            for (name, _), result in zip(systems, others, strict=True)
        }
