"""Translation: by fairseq-generate and sacreBLEU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from fairseq import options

from ..data.dataspec import DataSpec, check_dictionaries
from ..errors import PruningError
from ..evaluation.bleu import Score, score_file
from ..evaluation.paired import Output, PairedTests
from ..evaluation.randomisation import Texts
from ..evaluation.references import SIDES, read_references
from .evaluation import DEFAULT_TASK, Evaluation, register_evaluation
from .flags import arguments_of, given_flags, parse
from .recipe import Recipe
from .run import BEST

_SPEED = re.compile(r"Translated [\d,]+ sentences \([\d,]+ tokens\) in ([\d.]+)s \(.*, ([\d.]+) t")

_OWN_FLAGS = {
    *("user-dir", "path", "gen-subset"),
    # Without them all hypotheses go to one file.
    *("results-path", "quiet", "num-shards", "shard-id"),
}
_WHOLE = "required-batch-size-multiple"
_OF_THE_REFERENCE = {"score-reference", "prefix-size"}
"""Flags with which fairseq gives out the reference, or its beginning, as a translation."""
_JOINED_BY = {"bpe": {True, "@@ ", "@@", "subword_nmt"}, "sentencepiece": {True, "sentencepiece"}}
"""Values of --remove-bpe that fit the subwords of the data."""


@register_evaluation
class Translation(Evaluation):
    """BLEU and chrF of what fairseq-generate prints, compared by paired randomisation."""

    task = DEFAULT_TASK
    metrics: ClassVar[Mapping[str, str]] = {"sacrebleu": "sacreBLEU", "chrf": "chrF"}
    short = "BLEU"
    doing = "translating"
    suffix = ".out"
    chosen_by = "columns valid loss and valid (its sacreBLEU)"

    # ---- before a run

    def check_flags(self, recipe: Recipe) -> None:
        own_flags = _OWN_FLAGS | ({"model-overrides"} if len(recipe.budgets) > 1 else set())
        if own := sorted(own_flags & given_flags(recipe.generate)):
            raise PruningError(
                f"recipe {recipe.name}: 'generate' has --{own[0]}, which dsp-run sets or needs: "
                "leave it out"
            )
        if str(recipe.generate.get(_WHOLE, "1")) != "1":
            raise PruningError(
                f"recipe {recipe.name}: 'generate' has --{_WHOLE} {recipe.generate[_WHOLE]}, with "
                "which fairseq leaves out the last batch: leave it out"
            )
        if forced := sorted(_OF_THE_REFERENCE & given_flags(recipe.generate)):
            raise PruningError(
                f"recipe {recipe.name}: 'generate' has --{forced[0]}, with which fairseq gives out "
                "the references: leave it out"
            )
        words = self.command(recipe, Path(BEST), "test", False, None, Path())[1:]
        parse(recipe, "generate", options.get_generation_parser(), words)
        trained, flags = data_spec(recipe).arguments(), recipe.generate
        for flag, value in DataSpec.of_command(arguments_of(flags)).arguments().items():
            if trained.get(flag) != value:
                raise PruningError(
                    f"recipe {recipe.name}: 'generate' has --{flag} {value}, and 'train' "
                    f"{trained.get(flag, 'has not')}: leave it out, evaluation reads the data as "
                    "training does"
                )

    def check_folder(self, data: Path) -> None:
        check_dictionaries(data)
        if not (data / "prep.json").is_file():
            raise PruningError(
                f"{data} was not made by data-prep/, whose plain references scores need: prepare "
                "the data by it, or train by fairseq-train"
            )

    def check_split(self, recipe: Recipe, split: str) -> None:
        data, spec = Path(recipe.data), data_spec(recipe)
        spec.check_lengths(data, split)
        known, language = read_references(data, split), spec.direction(data)[1]
        kind = str(known[0].settings["subword"])
        for flag in ("remove-bpe", "post-process"):
            value = recipe.generate.get(flag, True)
            if value is not False and value not in _JOINED_BY[kind]:
                raise PruningError(
                    f"recipe {recipe.name}: 'generate' has --{flag} {value}, and the subwords of "
                    f"{data} are {kind}: write {flag}: true"
                )
        if language not in {references.language for references in known}:
            pair = " and ".join(str(known[0].settings.get(side)) for side in SIDES)
            raise PruningError(
                f"{data} keeps no plain text of its {split} split in {language}, which this model "
                f"translates into: it was prepared for {pair}"
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
        flags = {
            "user-dir": recipe.package,
            "path": str(checkpoint),
            "gen-subset": split,
            # Without it fairseq leaves out the last incomplete batch.
            _WHOLE: "1",
            **data_spec(recipe).arguments(),
            **recipe.generate,
        }
        if budget is not None:
            flags["model-overrides"] = str({"num_of_heads": budget})
        if cpu:
            flags["cpu"] = True
        return ["fairseq-generate", recipe.data, *arguments_of(flags)]

    def score(self, folder: Path, data: Path, split: str) -> dict[str, dict[str, Any]]:
        scores = score_file(folder / self.file(split), data, split)
        return {name: score.record() for name, score in scores.items()}

    def describe(self, record: Mapping[str, Any]) -> str:
        return str(Score(**record))

    def speed(self, folder: Path, split: str) -> dict[str, float]:
        """Seconds and generated tokens per second, as fairseq-generate says them at its end.

        Raises:
            PruningError: it did not say them.
        """
        # fairseq's log goes to either stream, depending on what was imported before it was set up.
        for path in (folder / f"{split}.log", folder / f"{split}.out"):
            if path.exists() and (found := _SPEED.search(path.read_text("utf-8", "replace"))):
                return {"generate_seconds": float(found[1]), "tokens_per_second": float(found[2])}
        raise PruningError(f"{folder / split}.log does not say how fast fairseq-generate was")

    # ---- several runs

    def tests(self, outputs: Mapping[str, Output], data: Path | None) -> PairedTests:
        return Texts(outputs, data)


def data_spec(recipe: Recipe) -> DataSpec:
    """How training reads the data, and evaluation therefore too."""
    return DataSpec.of_command(arguments_of(recipe.train))
