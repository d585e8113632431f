"""Classification: by dsp-predict, accuracy and McNemar's test."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.tasks.sentence_prediction import SentencePredictionConfig

from ..errors import CommandExit, PruningError
from ..evaluation.classification import accuracy, compare
from ..evaluation.paired import Output, Paired, PairedTests
from ..evaluation.predictions import Predictions, read_tsv
from ..tasks.sentence_prediction import DspSentencePredictionTask
from .evaluation import Evaluation, register_evaluation
from .flags import arguments_of
from .recipe import Recipe


@register_evaluation
class Classification(Evaluation):
    """Accuracy of what dsp-predict says, compared by McNemar's exact test."""

    task = "dsp_sentence_prediction"
    metrics: ClassVar[Mapping[str, str]] = {"accuracy": "accuracy"}
    short = "accuracy"
    doing = "predicting"
    suffix = ".tsv"
    chosen_by = "column valid (its accuracy)"

    # ---- before a run

    def check_flags(self, recipe: Recipe) -> None:
        if recipe.generate:
            raise PruningError(f"recipe {recipe.name}: 'generate' is for translation: leave it out")

    def check_split(self, recipe: Recipe, split: str) -> None:
        parser = argparse.ArgumentParser(add_help=False)
        gen_parser_from_dataclass(parser, SentencePredictionConfig())
        args, _ = parser.parse_known_args([recipe.data, *arguments_of(recipe.train)])
        # What the task has from elsewhere, and what is read does not depend on.
        vars(args).update(regression_target=False, classification_head_name="", seed=1)
        try:
            # It checks dictionaries, lengths and labels as it loads.
            DspSentencePredictionTask.setup_task(args).load_dataset(split)
        except CommandExit as end:
            raise end.error from None
        if not any((Path(recipe.data) / "label").glob(f"{split}.*")):
            raise PruningError(
                f"the {split} split of {recipe.data} has no labels: leave it out of 'evaluate'"
            )

    # ---- a run

    def command(
        self,
        recipe: Recipe,
        checkpoint: Path,
        split: str,
        cpu: bool,
        budget: str | None,
        output: Path,
    ) -> list[str]:
        flags: dict[str, str | bool] = {"data": recipe.data, "split": split, "output": str(output)}
        flags |= recipe.own_package()
        if budget is not None:
            flags["num-of-heads"] = budget
        if cpu:
            flags["cpu"] = True
        module = (Path(sys.executable).name, "-m", "dsp_fairseq.cli.predict")
        return [*module, str(checkpoint), *arguments_of(flags)]

    def score(self, folder: Path, data: Path, split: str) -> dict[str, dict[str, Any]]:
        found = accuracy(read_tsv(folder / self.file(split)))
        return {
            "accuracy": {
                "score": found.percent,
                "signature": "accuracy|interval:wilson|level:95",
                "interval": found.interval(),
                "right": found.right,
                "number": found.number,
            }
        }

    def describe(self, record: Mapping[str, Any]) -> str:
        low, high = record["interval"]
        return (
            f"{record['score']:6.2f}   [{low:.2f}, {high:.2f}]   {record['right']} of "
            f"{record['number']}, 95 % Wilson interval"
        )

    # ---- several runs

    def tests(self, outputs: Mapping[str, Output], data: Path | None) -> PairedTests:
        return Answers(outputs)


class Answers:
    """A test set as some classifiers answered it: :class:`~..evaluation.paired.PairedTests`."""

    method = "McNemar's exact test on the predictions"
    on_scores = True

    def __init__(self, outputs: Mapping[str, Output]) -> None:
        self._answers: dict[str, Predictions] = {}
        for name, output in outputs.items():
            with suppress(PruningError):
                self._answers[name] = read_tsv(output.path)

    def compare(self, baseline: str, models: Sequence[str]) -> Mapping[str, Paired]:
        """McNemar's test of each model and the baseline."""
        tests: dict[str, Paired] = {}
        for name in models:
            if baseline not in self._answers or name not in self._answers:
                continue
            own, other = self._answers[name], self._answers[baseline]
            with suppress(PruningError):  # of other data
                found = compare(own, other)
                difference = accuracy(own).percent - accuracy(other).percent
                tests[name] = Paired(difference, found.p, "McNemar|exact|two-sided")
        return tests
