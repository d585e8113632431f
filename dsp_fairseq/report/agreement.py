"""Whether runs that stand in one table were made and evaluated alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ..experiments.record import Record, read_record
from ..experiments.results import FinishedRun, groups
from .significance import RecipeRuns

_BY_RUN = {"seed", "data", "start", "distill-from", "log-interval", "log-format"}
"""What seeds of one method may have of their own; data is compared by its hash."""


def disagreements(
    recipe: RecipeRuns, place: Callable[[Sequence[FinishedRun]], str]
) -> Iterator[str]:
    """A line for each way in which numbers of a recipe do not compare.

    Args:
        recipe: the runs; of those without a record nothing is said.
        place: names runs of one method and budget.
    """
    records = {run.id: read_record(run.folder) for run in (*recipe.runs, *recipe.dense)}
    for group in groups(recipe.runs).values():
        own = [(run.id, record.recipe) for run in group if (record := records[run.id]).recipe]
        for (first, one), (other, two) in pairwise(own):
            names = {n for n, *_ in one.differences(two)} - _BY_RUN
            if names:
                yield (
                    f"{place(group)}: {first} and {other} were made with other settings "
                    f"({', '.join(sorted(names))}): their mean may be of different methods."
                )
    scores, times = "their scores do not", "times and speeds do not"
    for what, compared, value in (
        ("data", scores, _data),
        ("packages of one's own", scores, _package),
        ("flags of evaluation", scores, _evaluation),
        ("devices", times, _device),
    ):
        found: dict[str, list[str]] = {}
        for name, record in records.items():
            if said := value(record):
                found.setdefault(said, []).append(name)
        if len(found) > 1:
            shares = "; ".join(", ".join(names) for names in found.values())
            yield f"These runs have different {what}, so {compared} compare: {shares}."


def _data(record: Record) -> Any:
    return record.data_sha256


def _package(record: Record) -> Any:
    return record.package_sha256


def _device(record: Record) -> Any:
    # Earlier versions counted all GPUs of the machine.
    return record.device and record.device.rpartition(" x ")[2]


def _evaluation(record: Record) -> Any:
    return record.recipe and str(record.recipe.evaluation())
