"""The columns of the report's tables: to add one, add it to the list of its table below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..experiments.results import DENSE, FinishedRun, spread
from .page import escape
from .significance import SIGNIFICANT, Contest, Paired, RecipeRuns, mean_bleu

NONE = "–"


@dataclass(frozen=True)
class Row:
    """What a row is about: all seeds of one method and budget, or a single run.

    ``dense`` is what the runs are compared with; it may be empty.
    """

    recipe: RecipeRuns
    runs: Sequence[FinishedRun]
    dense: Sequence[FinishedRun]

    @property
    def first(self) -> FinishedRun:
        """The run that says what all runs of the row have in common."""
        return self.runs[0]

    @property
    def tests(self) -> list[Paired]:
        """The paired tests of these runs against their dense partners."""
        tests = self.recipe.against_dense
        return [tests[run.id] for run in self.runs if run.id in tests]

    @property
    def difference(self) -> float | None:
        """Mean BLEU less that of the dense model."""
        if not self.dense or self.first.is_dense:
            return None
        return mean_bleu(self.runs) - mean_bleu(self.dense)


@dataclass(frozen=True)
class Column:
    """A header, the text of a row's cell, and whether that is words, which start at the left."""

    title: str
    cell: Callable[[Any], str]
    left: bool = False


def measured(
    title: str,
    value: Callable[[FinishedRun], float | None],
    form: str = ".2f",
    deviation: bool = True,
    dense: bool = False,
) -> list[Column]:
    """The column of a number that each run has: its mean over the runs of a row.

    Args:
        title: the header.
        value: of a run; None where it is not known.
        form: Python's format of the number.
        deviation: whether the sample standard deviation over seeds is given too.
        dense: whether a second column has the same of the dense model.
    """

    def mean(runs: Sequence[FinishedRun]) -> str:
        known = [number for run in runs if (number := value(run)) is not None]
        if not known:
            return NONE
        seeds = spread(known)
        both = deviation and seeds.deviation is not None
        return f"{seeds.mean:{form}} ± {seeds.deviation:{form}}" if both else f"{seeds.mean:{form}}"

    columns = [Column(title, lambda row: mean(row.runs))]
    return [*columns, Column(DENSE, lambda row: mean(row.dense))] if dense else columns


def table(columns: Sequence[Column], rows: Iterable[Any]) -> str:
    """A Markdown table, one line a row."""
    lines = [
        [column.title for column in columns],
        [":---" if column.left else "---:" for column in columns],
        *([column.cell(row) for column in columns] for row in rows),
    ]
    cells = [[escape(cell).replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _difference(row: Row | Contest) -> str:
    if row.difference is None:
        return NONE
    return "0.00" if round(row.difference, 2) == 0 else f"{row.difference:+.2f}".replace("-", "−")


def _significant(row: Row | Contest) -> str:
    count = sum(test.significant for test in row.tests)
    return f"{count} of {len(row.tests)}" if row.tests else NONE


METHOD = Column("method", lambda row: row.first.method, left=True)
BLEU = measured("sacreBLEU", lambda run: run.score("sacrebleu"), dense=True)
DIFFERENCE = Column("difference", _difference)
SIGNIFICANCE = Column(f"p < {SIGNIFICANT}", _significant)
VALIDATION = [
    *measured("valid loss", lambda run: run.valid_loss, ".3f"),
    *measured("valid", lambda r: r.score("sacrebleu", "valid") if "valid" in r.scores else None),
]

# One row a method and budget: a Row.
RESULTS = [
    METHOD,
    Column("heads", lambda row: f"{row.first.budget} of {row.first.num_heads}"),
    Column("seeds", lambda row: str(len(row.runs))),
    *BLEU,
    DIFFERENCE,
    SIGNIFICANCE,
    *VALIDATION,
    *measured("chrF", lambda run: run.score("chrf"), dense=True),
    *measured("parameters", lambda run: run.parameters, ",.0f", deviation=False, dense=True),
    *measured("tokens/s", lambda run: run.tokens_per_second, ",.0f", deviation=False, dense=True),
]

# One row a run: a Row of one.
RUNS = [
    Column("run", lambda row: row.first.id, left=True),
    METHOD,
    Column("heads", lambda row: str(row.first.budget)),
    Column("seed", lambda row: str(row.first.seed)),
    *BLEU,
    DIFFERENCE,
    Column("p", lambda row: f"{row.tests[0].p_value:.3f}" if row.tests else NONE),
    *measured("chrF", lambda run: run.score("chrf")),
    *VALIDATION,
    *measured("minutes", lambda run: run.train_seconds / 60, ",.1f"),
]

# One row two methods at one budget: a Contest.
CONTESTS = [
    Column("heads", lambda contest: str(contest.budget)),
    Column("higher mean", lambda contest: contest.ahead, left=True),
    Column("against", lambda contest: contest.behind, left=True),
    Column("seeds", lambda contest: str(contest.seeds)),
    DIFFERENCE,
    SIGNIFICANCE,
    Column("what it says", lambda contest: contest.verdict, left=True),
]
