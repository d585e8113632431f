"""A run: the model to be made, the files in its folder, and how far it is."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import PruningError
from ..pruning.resume import LAST
from .provenance import data_hash, device, file_hash, git_state, versions
from .recipe import (
    Recipe,
    generate_command,
    load_recipe,
    load_yaml,
    parse_recipe,
    score_heads_command,
    train_command,
    train_flags,
)

RUN_FILE, RESULT_FILE, LOG_FILE = "run.yaml", "result.json", "train.log"
BEST = "checkpoint_best.pt"
FORMAT_VERSION = 1

_LOG_TAIL = 1 << 16


@dataclass(frozen=True)
class Run:
    """One model to be made.

    Attributes:
        recipe: with all flags settled.
        folder: where all its files go.
        threads: CPU threads of each process.
        gpu: the number of the only GPU to use, of those that are visible (default: all).
        data_sha256: what the data's hash has to be, if that is known already.
        start_sha256: the same of the checkpoint that it starts from.
    """

    recipe: Recipe
    folder: Path
    threads: int = 1
    gpu: int | None = None
    data_sha256: str | None = None
    start_sha256: str | None = None

    @property
    def starts_anew(self) -> bool:
        """Whether there is no training to be continued."""
        return not (self.folder / LAST).exists()


@dataclass(frozen=True)
class Target:
    """One budget that a run is evaluated at, and the folder of its translations and result.

    Where one training serves several budgets, each has a folder within that of the run.
    """

    budget: str | None
    folder: Path


def targets_of(run: Run) -> list[Target]:
    """What a run is evaluated at; a budget of None is the only one."""
    budgets = run.recipe.budgets
    if len(budgets) == 1:
        return [Target(None, run.folder)]
    return [Target(budget, run.folder / f"k{budget}") for budget in budgets]


def is_done(run: Run) -> bool:
    """Whether a run has all its results."""
    return all((target.folder / RESULT_FILE).exists() for target in targets_of(run))


def read_run(path: Path) -> Run:
    """The run that a recipe or a ``run.yaml`` describes.

    Raises:
        PruningError: the file is neither.
    """
    content = load_yaml(path)
    if "format_version" not in content:
        recipe = load_recipe(path)
        return Run(recipe, default_folder(recipe))
    if content["format_version"] != FORMAT_VERSION or not isinstance(content.get("recipe"), dict):
        raise PruningError(f"{path} is not a {RUN_FILE} that this version of dsp-run can read")
    return Run(
        parse_recipe(content["recipe"], path),
        path.parent,
        _threads(content.get("threads", 1), path),
        data_sha256=content.get("data_sha256"),
        start_sha256=content.get("start_sha256"),
    )


def _threads(value: Any, path: Path) -> int:
    if type(value) is not int or value < 1:
        raise PruningError(f"{path}: 'threads' must be a number from 1 on, not {value!r}")
    return value


def default_folder(recipe: Recipe) -> Path:
    """The recipe's own folder, or ``runs/NAME/kK-sSEED``."""
    return Path(recipe.folder or f"runs/{recipe.name}/k{recipe.budget}-s{recipe.seed}")


# ---- its files


def describe(run: Run) -> dict[str, Any]:
    """What ``run.yaml`` holds: enough to run it again, and to know what it was run with."""
    recipe = run.recipe
    start = recipe.start
    return {
        "format_version": FORMAT_VERSION,
        "recipe": recipe.settings(),
        "threads": run.threads,
        "seed": recipe.seed,
        "data_sha256": data_hash(Path(recipe.data)),
        "start_sha256": file_hash(Path(start)) if start and Path(start).is_file() else None,
        # A checkpoint from elsewhere is continued as fairseq-train would; the record says so.
        "continued_from_unknown": not run.starts_anew,
        "versions": versions(),
        "git": git_state(),
        "device": device(),
        "commands": [shlex.join(command) for command in commands_of(run)],
    }


def commands_of(run: Run) -> list[list[str]]:
    """All commands of a run, in their order."""
    cpu = on_cpu(run)
    commands = []
    if run.recipe.score is not None:
        commands.append(score_heads_command(run.recipe, run.folder))
    if train_flags(run.recipe, run.folder).get("max-update") != "0":
        commands.append(train_command(run.recipe, run.folder, cpu))
    best = run.folder / BEST
    for target in targets_of(run):
        for split in run.recipe.evaluate:
            commands.append(generate_command(run.recipe, best, split, cpu, target.budget))
    return commands


def on_cpu(run: Run) -> bool:
    # A recipe in 16 bits is for GPUs; without one, its commands can still be shown.
    return not torch.cuda.is_available() and not run.recipe.train.get("fp16")


def unfinished(target: Target, split: str) -> Path:
    return target.folder / f".{split}.out.part"


# ---- how far it is


def stage_of(run: Run) -> str:
    """How far a run is, from its files: starting, training U of M, translating, or done."""
    if is_done(run):
        return "done"
    for target in targets_of(run):
        for split in run.recipe.evaluate:
            if unfinished(target, split).exists():
                at = f" with {target.budget} heads" if target.budget else ""
                return f"translating {split}{at}"
    done, of = updates_done(run.folder), max_update(run)
    if done is None:
        return "starting"
    return f"training {done:,}" + (f" of {of:,}" if of else "")


def updates_done(folder: Path) -> int | None:
    """The last update that the log tells of; None before the first."""
    log = folder / LOG_FILE
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL))
        text = file.read().decode("utf-8", "replace")
    for line in reversed(text.splitlines()):
        _, mark, values = line.partition(" | INFO | train_inner | ")
        if mark:
            with suppress(ValueError):  # cut off by a kill
                return int(json.loads(values)["num_updates"])
    return None


def max_update(run: Run) -> int:
    """How many updates the run is going to take."""
    return int(train_flags(run.recipe, run.folder).get("max-update", 0))
