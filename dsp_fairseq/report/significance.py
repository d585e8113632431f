"""Who is ahead: paired tests between the runs of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from ..errors import PruningError
from ..evaluation.paired import Output, Paired, PairedTests
from ..experiments.evaluation import Evaluation
from ..experiments.record import data_folder
from ..experiments.results import (
    FinishedRun,
    Sweep,
    dense_runs,
    groups,
    seeds_of,
    spread,
)

SEEDS_TO_RANK = 3
NO_RANKING = "fewer than three seeds: no ranking"


@dataclass(frozen=True)
class Comparison:
    """Runs of one method and budget beside others: what a row of a table is about.

    ``baseline`` may be empty; ``tests`` are of the pairs of runs of which both outputs are there.
    """

    runs: Sequence[FinishedRun]
    baseline: Sequence[FinishedRun]
    tests: Sequence[Paired]

    @property
    def first(self) -> FinishedRun:
        """The run that says what all the runs have in common."""
        return self.runs[0]

    @property
    def seeds(self) -> int:
        """How many seeds both sides have."""
        return len(seeds_of(self.runs) & seeds_of(self.baseline))

    @property
    def difference(self) -> float | None:
        """Mean test score less that of the baseline."""
        return mean_score(self.runs) - mean_score(self.baseline) if self.baseline else None

    @property
    def verdict(self) -> str:
        """What may be claimed: with three seeds, and each of them significant."""
        if self.seeds < SEEDS_TO_RANK:
            return NO_RANKING
        if len(self.tests) < self.seeds:
            return "a paired test is missing: no ranking"
        if all(test.difference > 0 and test.significant for test in self.tests):
            return f"{self.first.method} is ahead"
        return "not told apart"


@dataclass(frozen=True)
class RecipeRuns:
    """The runs of one recipe and how they compare.

    Attributes:
        runs: the pruned ones.
        dense: the dense runs that they are compared with.
        tests: what compares two of them.
        against_dense: by the id of a run, the paired test against its dense partner.
        contests: the best method of each budget against the others.
    """

    name: str
    runs: Sequence[FinishedRun]
    dense: Sequence[FinishedRun]
    tests: PairedTests
    against_dense: dict[str, Paired] = field(default_factory=dict)
    contests: list[Comparison] = field(default_factory=list)

    @property
    def evaluation(self) -> Evaluation:
        """How all of them were evaluated."""
        return (*self.runs, *self.dense)[0].evaluation

    def partner(self, run: FinishedRun) -> FinishedRun | None:
        """The dense run of the same seed, or the first one, or None."""
        same = [dense for dense in self.dense if dense.seed == run.seed]
        return next(iter((*same, *self.dense)), None)

    def beside(self, dense: Sequence[FinishedRun], runs: Sequence[FinishedRun]) -> Comparison:
        """Runs of this recipe compared with dense ones."""
        tests = [self.against_dense[run.id] for run in runs if run.id in self.against_dense]
        return Comparison(runs, dense, tests)


def gather(sweep: Sweep) -> list[RecipeRuns]:
    """Runs all paired tests of a sweep.

    Raises:
        PruningError: runs of one recipe have different head layouts.
    """
    recipes = []
    for name in sweep.recipes:
        dense = dense_runs(sweep, name)
        runs = [run for run in sweep.runs if run.recipe == name and not run.is_dense]
        _check_layouts(name, [*runs, *dense])
        tests = _tests([*runs, *dense])
        recipe = RecipeRuns(name, runs, dense, tests)
        for partner in tqdm(dense, desc=f"tests against dense, {name}", disable=None):
            own = [run for run in runs if recipe.partner(run) is partner]
            found = tests.compare(partner.id, [run.id for run in own])
            recipe.against_dense.update(found)
        for first, second in tqdm(_rivals(runs), desc=f"tests of methods, {name}", disable=None):
            recipe.contests.append(_contest(tests, first, second))
        recipes.append(recipe)
    return recipes


def _tests(runs: Sequence[FinishedRun]) -> PairedTests:
    evaluation = runs[0].evaluation
    outputs = {}
    for run in runs:
        signature = run.scores["test"][evaluation.metric].signature
        outputs[run.id] = Output(run.folder / evaluation.file("test"), signature)
    return evaluation.tests(
        outputs, next(filter(None, (data_folder(run.folder) for run in runs)), None)
    )


def _check_layouts(recipe: str, runs: Iterable[FinishedRun]) -> None:
    """Maps and budgets of different models would not compare."""
    by_size, by_shape = {}, {}
    for run in runs:
        sizes = [(kind, len(kept), run.heads_per_layer[kind]) for kind, kept in run.kept.items()]
        by_size[run.evaluation.task, run.num_heads] = run.id
        if sizes:  # a result without a head map has none
            by_shape[tuple(sorted(sizes))] = run.id
    for different in (by_size, by_shape):
        if len(different) < 2:
            continue
        first, second, *_ = different.values()
        raise PruningError(
            f"{first} and {second} are both of the recipe {recipe!r}, but their models have "
            "different heads or tasks: give different recipes different names"
        )


def _rivals(runs: Sequence[FinishedRun]) -> list[tuple[list[FinishedRun], list[FinishedRun]]]:
    """At each budget the method with the highest mean, and each of the others."""
    pairs = []
    for budget in sorted({run.given for run in runs}):
        here = list(groups(run for run in runs if run.given == budget).values())
        here.sort(key=mean_score, reverse=True)
        # A mean of one or two seeds is no measure for those that could be ranked.
        able = [group for group in here if len(seeds_of(group)) >= SEEDS_TO_RANK]
        best = able[0] if len(able) > 1 else here[0]
        pairs += [(best, other) for other in here if other is not best]
    return pairs


def _contest(tests: PairedTests, first: list[FinishedRun], second: list[FinishedRun]) -> Comparison:
    # Over the seeds that both have; with none in common, over what there is.
    common = seeds_of(first) & seeds_of(second)
    if common:
        first, second = ([r for r in runs if r.seed in common] for runs in (first, second))
    if mean_score(first) < mean_score(second):
        first, second = second, first
    pairs = [
        tests.compare(rival.id, [run.id])
        for run in first
        for rival in second
        if run.seed == rival.seed
    ]
    return Comparison(first, second, [test for pair in pairs for test in pair.values()])


def mean_score(runs: Iterable[FinishedRun]) -> float:
    """Mean score of the test split."""
    return spread(run.score() for run in runs).mean
