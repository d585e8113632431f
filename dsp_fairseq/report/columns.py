"""The columns of the report's tables: to add one, add it to the list of its table below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..evaluation.paired import SIGNIFICANT
from ..experiments.evaluation import Evaluation
from ..experiments.results import DENSE, FinishedRun, heads_kept, seeds_of, spread
from .page import escape
from .significance import Comparison

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: the header.
        cell: the text of a row's cell.
        left: whether that is words, which start at the left.
        only: a metric: where a task does not have it, the column is left out.
    """

    title: str
    cell: Callable[[Comparison], str]
    left: bool = False
    only: str = ""


def measured(
    title: str,
    value: Callable[[FinishedRun], float | None],
    form: str = ".2f",
    deviation: bool = True,
    dense: bool = False,
    only: str = "",
) -> list[Column]:
    """The column of a number that each run has: its mean over the runs of a row.

    Args:
        title: the header.
        value: of a run; None where it is not known.
        form: Python's format of the number.
        deviation: whether the sample standard deviation over seeds is given too.
        dense: whether a second column has the same of the dense model.
        only: as in :class:`Column`.
    """

    def mean(runs: Sequence[FinishedRun]) -> str:
        known = [number for run in runs if (number := value(run)) is not None]
        if not known:
            return NONE
        seeds = spread(known)
        both = deviation and seeds.deviation is not None
        return f"{seeds.mean:{form}} ± {seeds.deviation:{form}}" if both else f"{seeds.mean:{form}}"

    columns = [Column(title, lambda row: mean(row.runs), only=only)]
    own = Column(DENSE, lambda row: mean(row.baseline), only=only)
    return [*columns, own] if dense else columns


def metric(name: str, title: str, dense: bool = False) -> list[Column]:
    """The column of a metric of the test split, for tasks that have it."""
    return measured(title, lambda run: run.score(name), dense=dense, only=name)


def with_metrics(columns: Sequence[Column], evaluation: Evaluation) -> list[Column]:
    """The columns of scores, with those of metrics that none is of before the difference."""
    known = {column.only for column in columns}
    own = [(name, title) for name, title in evaluation.metrics.items() if name not in known]
    place = columns.index(DIFFERENCE)
    more = [column for name, title in own for column in metric(name, title, dense=True)]
    return [*columns[:place], *more, *columns[place:]]


def table(columns: Sequence[Column], rows: Iterable[Comparison]) -> str:
    """A Markdown table, one line a row."""
    rows = list(rows)
    columns = [
        column
        for column in columns
        if not column.only or any(column.only in row.first.evaluation.metrics for row in rows)
    ]
    lines = [
        [column.title for column in columns],
        [":---" if column.left else "---:" for column in columns],
        *([column.cell(row) for column in columns] for row in rows),
    ]
    cells = [[escape(cell).replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _difference(row: Comparison) -> str:
    if row.difference is None or row.first.is_dense:
        return NONE
    return "0.00" if round(row.difference, 2) == 0 else f"{row.difference:+.2f}".replace("-", "−")


def _interval(row: Comparison) -> str:
    low, high = row.first.scores["test"]["accuracy"].interval or (math.nan, math.nan)
    return f"{low:.2f} to {high:.2f}"


def _significant(row: Comparison) -> str:
    count = sum(test.significant for test in row.tests)
    return f"{count} of {len(row.tests)}" if row.tests else NONE


METHOD = Column("method", lambda row: row.first.method, left=True)
SCORE = [
    *metric("sacrebleu", "sacreBLEU", dense=True),
    *metric("accuracy", "accuracy", dense=True),
]
DIFFERENCE = Column("difference", _difference)
SIGNIFICANCE = Column(f"p < {SIGNIFICANT}", _significant)
VALIDATION = [
    *measured("valid loss", lambda run: run.valid_loss, ".3f", only="sacrebleu"),
    *measured("valid", lambda r: r.score(split="valid") if "valid" in r.scores else None),
]

# One row a method and budget, beside the dense runs.
RESULTS = [
    METHOD,
    Column("heads", lambda row: heads_kept(row.runs, f" of {row.first.num_heads}")),
    Column("seeds", lambda row: str(len(seeds_of(row.runs)))),
    *SCORE,
    DIFFERENCE,
    SIGNIFICANCE,
    *VALIDATION,
    *metric("chrf", "chrF", dense=True),
    *measured("parameters", lambda run: run.parameters, ",.0f", deviation=False, dense=True),
    *measured(
        "tokens/s",
        lambda run: run.tokens_per_second,
        ",.0f",
        deviation=False,
        dense=True,
        only="sacrebleu",
    ),
]

# One row a run, beside its dense partner.
RUNS = [
    Column("run", lambda row: row.first.id, left=True),
    METHOD,
    Column("heads", lambda row: heads_kept(row.runs)),
    Column("seed", lambda row: str(row.first.seed)),
    *SCORE,
    DIFFERENCE,
    Column("p", lambda row: f"{row.tests[0].p_value:.3f}" if row.tests else NONE),
    Column("95 % interval", _interval, only="accuracy"),
    *metric("chrf", "chrF"),
    *VALIDATION,
    *measured("minutes", lambda run: run.train_seconds / 60, ",.1f"),
]

# One row two methods at one budget, that with the higher mean first.
CONTESTS = [
    Column("heads", lambda row: heads_kept([*row.runs, *row.baseline])),
    Column("higher mean", lambda row: row.first.method, left=True),
    Column("against", lambda row: row.baseline[0].method, left=True),
    Column("seeds", lambda row: str(row.seeds)),
    DIFFERENCE,
    SIGNIFICANCE,
    Column("what it says", lambda row: row.verdict, left=True),
]
