"""The commands of a run: training, choosing heads without training, translating."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..about import USER_DIR
from ..errors import PruningError
from ..pruning.flags import PruningConfig
from .recipe import Flags, Recipe
from .run import BEST, Run, targets_of

SCHEDULE_FLAGS = ("pruning-mode", "finetune-updates", "freeze-heads-after", "cooldown-steps")
"""What a run whose heads are chosen without training has no use for."""


def arguments_of(flags: Mapping[str, Any]) -> list[str]:
    """Flags as a command line has them."""
    words: list[str] = []
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words += [f"--{name}", str(value)]
    return words


def train_flags(recipe: Recipe, folder: Path) -> Flags:
    """All flags of fairseq-train but those of the machine."""
    given = dict(recipe.train)
    start = recipe.start
    if recipe.score is not None:
        start = str(folder / "scored.pt")
        given["max-update"] = given.get("finetune-updates", "0")
        for name in SCHEDULE_FLAGS:
            given.pop(name, None)
    elif given.get("pruning-mode") == "pipelined" and "max-update" not in given:
        parts = [_freeze_of(given), str(given.get("finetune-updates", "0"))]
        # What is no number is for fairseq-train's own parser to refuse.
        if all(part.isdigit() for part in parts):
            given["max-update"] = str(sum(map(int, parts)))
    flags: Flags = {"user-dir": str(USER_DIR), **given, "seed": str(recipe.seed)}
    if start is not None:
        flags["finetune-from-model"] = start
    flags |= {"save-dir": str(folder), "log-format": "json"}
    flags.setdefault("log-interval", "50")
    return flags


def _freeze_of(flags: Flags) -> str:
    """Updates until the freeze, as :func:`~dsp_fairseq.pruning.plan.plan_pruning` has it."""
    args = Namespace(**{name.replace("-", "_"): value for name, value in flags.items()})
    return str(PruningConfig.from_namespace(args).updates_before_freeze())


def train_command(recipe: Recipe, folder: Path, cpu: bool) -> list[str]:
    """The command that trains, or continues, a run.

    Args:
        recipe: with all flags settled.
        folder: where checkpoints go.
        cpu: whether to train without a GPU.
    """
    arguments = [recipe.data, *arguments_of(train_flags(recipe, folder))]
    if cpu and "cpu" not in recipe.train:
        arguments.append("--cpu")
    arguments += ["--distributed-world-size", str(recipe.processes)]
    if recipe.processes == 1:
        return ["fairseq-train", *arguments]
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(recipe.processes)]
    if not cpu:
        return [*torchrun, "--no-python", "fairseq-train", *arguments]
    # Under torchrun fairseq takes its rank from the environment only where there is a GPU.
    arguments += ["--distributed-backend", "gloo", "--distributed-init-method", "env://"]
    shell = 'exec fairseq-train "$@" --distributed-no-spawn --distributed-rank "$RANK"'
    return [*torchrun, "--no-python", "bash", "-c", shell, "fairseq-train", *arguments]


def score_heads_command(recipe: Recipe, folder: Path) -> list[str]:
    """The command that chooses heads of the start checkpoint without training."""
    if recipe.start is None or recipe.score is None:
        raise PruningError(f"recipe {recipe.name}: 'score' needs 'start', the checkpoint to score")
    given = {"num-of-heads": recipe.budget, "seed": str(recipe.seed), **recipe.score}
    output = {"output": str(folder / "scored.pt")}
    return [
        *("dsp-score-heads", recipe.start, "--data", recipe.data),
        *arguments_of({k: v for k, v in given.items() if v is not None} | output),
    ]


def generate_command(
    recipe: Recipe, checkpoint: Path, split: str, cpu: bool, budget: str | None = None
) -> list[str]:
    """The command that translates a split, with one of several budgets if the model has them."""
    flags = {
        "user-dir": str(USER_DIR),
        "path": str(checkpoint),
        "gen-subset": split,
        # Without it fairseq leaves out the last incomplete batch.
        "required-batch-size-multiple": "1",
        **recipe.generate,
    }
    if budget is not None:
        flags["model-overrides"] = str({"num_of_heads": budget})
    if cpu:
        flags["cpu"] = True
    return ["fairseq-generate", recipe.data, *arguments_of(flags)]


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


def max_update(run: Run) -> int:
    """How many updates the run is going to take."""
    return int(train_flags(run.recipe, run.folder).get("max-update", 0))
