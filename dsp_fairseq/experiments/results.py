"""The results of a sweep: the lines of its ``runs.jsonl``, and the training logs beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from ..errors import PruningError
from ..heads.family import known_kinds

RUNS_FILE = "runs.jsonl"
DENSE = "dense"
SPLITS = ("valid", "test")

_FROZE = re.compile(r"\| froze .* heads at update (\d+) ")
METRICS = ("sacrebleu", "chrf")


@dataclass(frozen=True)
class Signed:
    """A score and the sacreBLEU signature that names every setting behind it."""

    score: float
    signature: str


@dataclass(frozen=True)
class FinishedRun:
    """One finished run of a sweep: one method, one budget, one seed.

    Attributes:
        id: its name in the sweep.
        recipe: the recipe it was made by.
        method: how gates were drawn, or :data:`DENSE`.
        budget: K, the number of heads kept.
        num_heads: N.
        seed: of the training.
        folder: with ``train.log`` and ``test.out``.
        parameters: of the pruned model.
        tokens_per_second: speed of generation.
        train_seconds: how long the training took.
        valid_loss: of the checkpoint that was translated with; None where it is not known.
        scores: split -> metric -> score; ``test`` is always there, ``valid`` may not be.
        kept: kind of site -> for each layer the numbers of the heads kept; may be empty.
        heads_per_layer: kind of site -> heads of one layer before pruning.
    """

    id: str
    recipe: str
    method: str
    budget: int
    num_heads: int
    seed: int
    folder: Path
    parameters: int
    tokens_per_second: float
    train_seconds: float
    valid_loss: float | None
    scores: Mapping[str, Mapping[str, Signed]]
    kept: Mapping[str, Sequence[Sequence[int]]]
    heads_per_layer: Mapping[str, int]

    @property
    def is_dense(self) -> bool:
        """Whether this is the model that nothing was pruned from."""
        return self.method == DENSE

    def score(self, metric: str, split: str = "test") -> float:
        """A score in percent."""
        return self.scores[split][metric].score


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
    path = folder / RUNS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(
            f"cannot read {path} ({error}): give the output folder of dsp-sweep"
        ) from None
    runs: dict[str, FinishedRun] = {}
    lines = text.split("\n")
    torn = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            run = _run(json.loads(line), folder)
        except json.JSONDecodeError as error:
            # Only a finished line ends in a line break.
            if number == len(lines):
                torn = True
                continue
            raise PruningError(f"{path}, line {number} is not JSON: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PruningError(
                f"{path}, line {number} is not the result of a run: {_what(error)}"
            ) from None
        runs[run.id] = run
    if not runs:
        raise PruningError(f"{path} holds no finished run yet: let dsp-sweep finish one")
    order = sorted(
        runs.values(), key=lambda r: (r.recipe, not r.is_dense, r.method, r.budget, r.seed, r.id)
    )
    return Sweep(folder, tuple(order), torn)


def _what(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _run(line: Mapping[str, Any], folder: Path) -> FinishedRun:
    scores = {
        split: {metric: _signed(line["scores"][split][metric]) for metric in METRICS}
        for split in SPLITS
        if split == "test" or split in line["scores"]
    }
    kept = line["kept"] or {}
    run = FinishedRun(
        id=str(line["id"]),
        recipe=str(line["recipe"]),
        method=str(line["method"]),
        budget=int(line["budget"]),
        num_heads=int(line["num_heads"]),
        seed=int(line["seed"]),
        folder=folder / str(line["folder"]),
        parameters=int(line["parameters"]),
        tokens_per_second=_finite(line["tokens_per_second"]),
        train_seconds=_finite(line["train_seconds"]),
        valid_loss=None if line.get("valid_loss") is None else _finite(line["valid_loss"]),
        scores=scores,
        kept=kept,
        heads_per_layer={kind: int(line["heads_per_layer"][kind]) for kind in kept},
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
    return Signed(_finite(node["score"]), str(node["signature"]))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"it holds {value}, which is not a finite number")
    return number


def dense_runs(sweep: Sweep, recipe: str) -> list[FinishedRun]:
    """The dense runs that a recipe's pruned runs are compared with."""
    return [run for run in sweep.runs if run.is_dense and run.recipe == recipe]


def data_folder(run: FinishedRun) -> Path | None:
    """The prepared data that a run's ``run.yaml`` names, where it is there."""
    try:
        recorded = yaml.safe_load((run.folder / "run.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(recorded, Mapping):
        return None
    nested = recorded.get("recipe")
    data = recorded.get("data") or (nested.get("data") if isinstance(nested, Mapping) else None)
    if not isinstance(data, str):
        return None
    return next((p for p in (Path(data), run.folder / data) if (p / "prep.json").is_file()), None)


# ---- training logs


@dataclass(frozen=True)
class Curve:
    """What one training logged; all lists are of one length.

    Attributes:
        updates: numbers of updates, rising.
        temperature: at each of them.
        margin: importance of the K-th head less that of the next.
        frozen_at: the update of the freeze; where the log does not say it, the first that was
            logged as frozen; None if there was none.
    """

    updates: tuple[int, ...]
    temperature: tuple[float, ...]
    margin: tuple[float, ...]
    frozen_at: int | None


def read_curve(path: Path) -> Curve | None:
    """Reads the JSON lines (``--log-format json``) that fairseq-train wrote while it trained.

    A resumed training logs some updates twice: the later counts.

    Returns:
        the curve, or None if there is no such file or no temperature and margin in it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    points: dict[int, tuple[float, float, float]] = {}
    for line in text.splitlines():
        _, found, rest = line.partition("| train_inner | ")
        if not found:
            continue
        try:
            values = json.loads(rest)
            points[int(values["num_updates"])] = (
                float(values["temperature"]),
                float(values["margin"]),
                float(values.get("frozen", 0)),
            )
        except (ValueError, KeyError, TypeError):
            continue
    if not points:
        return None
    said = _FROZE.findall(text)
    updates = sorted(points)
    return Curve(
        tuple(updates),
        tuple(points[u][0] for u in updates),
        tuple(points[u][1] for u in updates),
        int(said[-1]) if said else next((u for u in updates if points[u][2] >= 1), None),
    )


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


def groups(runs: Iterable[FinishedRun]) -> dict[tuple[str, int], list[FinishedRun]]:
    """Runs by method and budget, in the order of both; the seeds within."""
    result: dict[tuple[str, int], list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.method, run.budget, run.seed, run.id)):
        result.setdefault((run.method, run.budget), []).append(run)
    return result
