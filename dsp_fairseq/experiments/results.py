"""The results of a sweep: the lines of its ``runs.jsonl``, and the training logs beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..errors import PruningError
from ..files import read_text
from ..heads.family import known_kinds
from .evaluation import DEFAULT_TASK, EVALUATIONS, Evaluation

RUNS_FILE, RESULT_FILE = "runs.jsonl", "result.json"
DENSE = "dense"
SPLITS = ("valid", "test")

Budget = tuple[bool, float]
"""Whether a budget is in cost, and K or C."""


@dataclass(frozen=True)
class Signed:
    """A score, the signature that names every setting behind it, and its interval if it has one."""

    score: float
    signature: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class FinishedRun:
    """One finished run of a sweep: one method, one budget, one seed.

    Attributes:
        id: its name in the sweep.
        recipe: the recipe it was made by.
        evaluation: that of its task.
        method: how gates were drawn, or :data:`DENSE`.
        budget: K, the number of heads kept.
        cost_budget: C, what they may cost, where that decided how many they are.
        num_heads: N.
        seed: of the training.
        folder: with ``train.log`` and the output of the test split.
        parameters: of the pruned model.
        tokens_per_second: speed of generation; None where nothing is generated.
        train_seconds: how long the training took.
        valid_loss: of the checkpoint that was evaluated; None where it is not known.
        scores: split -> metric -> score; ``test`` is always there, ``valid`` may not be.
        kept: kind of site -> for each layer the numbers of the heads kept; may be empty.
        heads_per_layer: kind of site -> heads of one layer before pruning.
    """

    id: str
    recipe: str
    evaluation: Evaluation
    method: str
    budget: int
    num_heads: int
    seed: int
    folder: Path
    parameters: int
    tokens_per_second: float | None
    train_seconds: float
    valid_loss: float | None
    scores: Mapping[str, Mapping[str, Signed]]
    kept: Mapping[str, Sequence[Sequence[int]]]
    heads_per_layer: Mapping[str, int]
    cost_budget: float | None = None

    @property
    def is_dense(self) -> bool:
        """Whether this is the model that nothing was pruned from."""
        return self.method == DENSE

    @property
    def given(self) -> Budget:
        """The budget that it was given; those in cost come last."""
        in_cost = self.cost_budget is not None
        return in_cost, self.budget if self.cost_budget is None else self.cost_budget

    def score(self, metric: str = "", split: str = "test") -> float:
        """A score in percent, by default that by which runs are compared."""
        return self.scores[split][metric or self.evaluation.metric].score


@dataclass(frozen=True)
class Sweep:
    """What is in a sweep's folder.

    Attributes:
        folder: the folder.
        runs: sorted, so that the order in which they ended does not matter.
        torn: whether the last line is incomplete, as a kill in the middle of writing leaves it.
    """

    folder: Path
    runs: tuple[FinishedRun, ...]
    torn: bool

    @property
    def recipes(self) -> list[str]:
        """The names of its recipes."""
        return sorted({run.recipe for run in self.runs})


# ---- reading


def read_sweep(folder: Path) -> Sweep:
    """Reads ``runs.jsonl``; of several lines with one id the last counts.

    Raises:
        PruningError: there is no such file, or a line is not a run's result.
    """
    path, runs, torn = folder / RUNS_FILE, {}, False
    try:
        for number, line in _objects(path):
            if line is None:
                torn = True
                continue
            try:
                run = _run(line, folder)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                what = f"it has no {error}" if isinstance(error, KeyError) else error
                raise ValueError(f"line {number} is not the result of a run: {what}") from None
            runs[run.id] = run
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(
            f"cannot read {path} ({error}): give the output folder of dsp-sweep"
        ) from None
    except ValueError as error:
        raise PruningError(f"{path}, {error}") from None
    if not runs:
        raise PruningError(f"{path} holds no finished run yet: let dsp-sweep finish one")
    order = sorted(
        runs.values(), key=lambda r: (r.recipe, not r.is_dense, r.method, r.given, r.seed, r.id)
    )
    return Sweep(folder, tuple(order), torn)


def _run(line: Mapping[str, Any], folder: Path) -> FinishedRun:
    task = line.get("task", DEFAULT_TASK)
    if task not in EVALUATIONS:
        raise ValueError(
            f"its task {task} has no evaluation: give the package that has it by --user-dir"
        )
    evaluation = EVALUATIONS[task]
    scores = {
        split: {metric: _signed(line["scores"][split][metric]) for metric in evaluation.metrics}
        for split in SPLITS
        if split == "test" or split in line["scores"]
    }
    kept = line["kept"] or {}
    cost_budget = _known(line, "cost_budget")
    if "cost_budget" not in line:
        # Results of earlier versions do not say it, but the name in a sweep does.
        name = rf"{re.escape(str(line['method']))}-c(\d+)-s{line['seed']}"
        found = re.fullmatch(name, str(line["id"]))
        cost_budget = float(found[1]) if found else None
    run = FinishedRun(
        id=str(line["id"]),
        recipe=str(line["recipe"]),
        evaluation=evaluation,
        method=str(line["method"]),
        budget=int(line["budget"]),
        num_heads=int(line["num_heads"]),
        seed=int(line["seed"]),
        folder=folder / str(line["folder"]),
        parameters=int(line["parameters"]),
        tokens_per_second=_known(line, "tokens_per_second"),
        train_seconds=_finite(line["train_seconds"]),
        valid_loss=_known(line, "valid_loss"),
        scores=scores,
        kept=kept,
        heads_per_layer={kind: int(line["heads_per_layer"][kind]) for kind in kept},
        cost_budget=cost_budget,
    )
    if unknown := sorted(set(run.kept) - set(known_kinds())):
        raise ValueError(f"it keeps heads of {', '.join(unknown)}")
    for kind, layers in run.kept.items():
        numbers = {head for heads in layers for head in heads}
        if outside := numbers - set(range(run.heads_per_layer[kind])):
            raise ValueError(f"{kind} has no head {min(outside)}")
    count = sum(len(heads) for layers in run.kept.values() for heads in layers)
    if run.kept and count != run.budget:
        raise ValueError(f"its budget is {run.budget} heads, and it keeps {count}")
    return run


def _signed(node: Mapping[str, Any]) -> Signed:
    low, high = map(_finite, node.get("interval") or (0.0, 0.0))
    interval = (low, high) if "interval" in node else None
    return Signed(_finite(node["score"]), str(node["signature"]), interval)


def _known(line: Mapping[str, Any], name: str) -> float | None:
    return None if line.get(name) is None else _finite(line[name])


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"it holds {value}, which is not a finite number")
    return number


def dense_runs(sweep: Sweep, recipe: str) -> list[FinishedRun]:
    """The dense runs that a recipe's pruned runs are compared with."""
    return [run for run in sweep.runs if run.is_dense and run.recipe == recipe]


# ---- one run, and the lines as they are


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run.

    Raises:
        PruningError: there is none, or it cannot be read.
    """
    path = folder / RESULT_FILE
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise PruningError(f"cannot read {path}: {error}") from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``runs.jsonl``; none if there is no such file.

    Raises:
        PruningError: the file holds something else.
    """
    if not path.exists():
        return []
    try:
        lines = [line for _, line in _objects(path)]
        return [line for line in lines if line["id"] and line["folder"]]
    except OSError as error:
        raise PruningError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PruningError(f"{path} is damaged ({error}): remove it; it is rebuilt") from None


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """The number of each line and what it holds; None for a last one that a kill cut off.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not JSON.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            # Only a finished line ends in a line break.
            if number < len(lines):
                raise ValueError(f"line {number} is not JSON: {error}") from None
            yield number, None


# ---- several seeds


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; no deviation for a single one."""

    mean: float
    deviation: float | None
    number: int


def spread(values: Iterable[float]) -> Spread:
    """Mean and spread of at least one value."""
    numbers = list(values)
    deviation = stdev(numbers) if len(numbers) > 1 else None
    return Spread(fmean(numbers), deviation, len(numbers))


def groups(runs: Iterable[FinishedRun]) -> dict[tuple[str, Budget], list[FinishedRun]]:
    """Runs by method and given budget, in the order of both; the seeds within."""
    result: dict[tuple[str, Budget], list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.method, run.given, run.seed, run.id)):
        result.setdefault((run.method, run.given), []).append(run)
    return result


def seeds_of(runs: Iterable[FinishedRun]) -> set[int]:
    """The seeds that there are runs of."""
    return {run.seed for run in runs}


def heads_kept(runs: Iterable[FinishedRun], unit: str = "") -> str:
    """How many heads the runs of one budget keep, as in ``12 heads`` or ``20–23 heads, C = 13``.

    Args:
        runs: of one budget, K or C.
        unit: what stands behind the number.
    """
    runs = list(runs)
    low, high = (pick(run.budget for run in runs) for pick in (min, max))
    cost = "" if runs[0].cost_budget is None else f", C = {runs[0].cost_budget:.12g}"
    return f"{low if low == high else f'{low}–{high}'}{unit}{cost}"
