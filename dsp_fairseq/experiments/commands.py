"""The commands of a run: ranking heads without training, training, evaluating."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from ..errors import PruningError
from ..pruning.flags import PruningConfig
from .evaluation import evaluation_of
from .flags import arguments_of
from .recipe import Flags, Recipe
from .run import BEST, Run, Target, targets_of

_SCHEDULE_FLAGS = (
    *("pruning-mode", "finetune-updates", "freeze-heads-after"),
    *("cooldown-steps", "gates-after", "repair-batches"),
)
"""What a training whose heads are chosen without it has no use for."""

_BUDGET_FLAGS = ("num-of-heads", "head-costs", "cost-budget")
_RANK_FLAGS = (*_BUDGET_FLAGS, "keep-at-least", "keep-at-most", "repair-batches")
"""What a ranking takes from the flags of the training."""
_OWN_RANK_FLAGS = ("data", "output", "user-dir")


# ---- training


def start_of(recipe: Recipe, folder: Path) -> Path | None:
    """The checkpoint whose weights training starts from; heads may have to be ranked for it."""
    if recipe.rank is None:
        return None if recipe.start is None else Path(recipe.start)
    older = folder / "scored.pt"
    return older if older.exists() else folder / "ranked.pt"


def train_flags(recipe: Recipe, folder: Path) -> Flags:
    """All flags of fairseq-train but those of the machine."""
    given = dict(recipe.train)
    if recipe.rank is not None:
        given["max-update"] = given.get("finetune-updates", "0")
        for name in _SCHEDULE_FLAGS:
            given.pop(name, None)
    elif given.get("pruning-mode") == "pipelined" and "max-update" not in given:
        flags = {name.replace("-", "_"): value for name, value in given.items()}
        config = PruningConfig.from_namespace(Namespace(**flags))
        # What is no number is for fairseq-train's own parser to refuse.
        with suppress(ValueError):
            updates = config.updates_before_freeze() + int(config.finetune_updates or 0)
            given["max-update"] = str(updates)
    flags = {"user-dir": recipe.package, **given, "seed": str(recipe.seed)}
    if (start := start_of(recipe, folder)) is not None:
        flags["finetune-from-model"] = str(start)
    flags |= {"save-dir": str(folder), "log-format": "json"}
    flags.setdefault("log-interval", "50")
    return flags


def max_update(run: Run) -> int:
    """How many updates the run is going to take."""
    return int(train_flags(run.recipe, run.folder).get("max-update", 0))


def trains(run: Run) -> bool:
    """Whether there is anything to train: ranked heads can be used as they are."""
    return run.recipe.rank is None or max_update(run) > 0


def train_command(recipe: Recipe, folder: Path, cpu: bool) -> list[str]:
    """The command that trains, or continues, a run.

    Args:
        recipe: with all flags settled.
        folder: where checkpoints go.
        cpu: whether to train without a GPU.
    """
    arguments = [recipe.data, *arguments_of(train_flags(recipe, folder))]
    return training_in_processes(recipe.processes, arguments, cpu)


def training_in_processes(processes: int, arguments: Sequence[str], cpu: bool) -> list[str]:
    """fairseq-train in so many processes of this machine: one a GPU, or on the CPU.

    Args:
        processes: how many; several are started by torchrun.
        arguments: of fairseq-train, without those of devices and processes.
        cpu: whether to train without a GPU.
    """
    words = [*arguments, "--distributed-world-size", str(processes)]
    if cpu and "--cpu" not in words:
        words.append("--cpu")
    if processes == 1:
        return ["fairseq-train", *words]
    if not any(word.partition("=")[0] == "--ddp-backend" for word in words):
        words += ["--ddp-backend", "legacy_ddp"]
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(processes), "--no-python"]
    if not cpu:
        return [*torchrun, "fairseq-train", *words]
    # Under torchrun fairseq takes its rank from the environment only where there is a GPU.
    words += ["--distributed-backend", "gloo", "--distributed-init-method", "env://"]
    shell = 'exec fairseq-train "$@" --distributed-no-spawn --distributed-rank "$RANK"'
    return [*torchrun, "bash", "-c", shell, "fairseq-train", *words]


# ---- ranking and evaluating


def rank_command(recipe: Recipe, folder: Path) -> list[str]:
    """The command that chooses heads of the start checkpoint without training."""
    if recipe.start is None or recipe.rank is None:
        raise PruningError(f"recipe {recipe.name}: 'rank' needs 'start', the checkpoint to rank")
    for names, where in ((_BUDGET_FLAGS, "'train'"), (_OWN_RANK_FLAGS, "dsp-run")):
        if own := sorted({*names} & recipe.rank.keys()):
            raise PruningError(f"recipe {recipe.name}: 'rank' sets {own[0]}, which {where} says")
    if len(recipe.budgets) > 1:
        raise PruningError(
            f"recipe {recipe.name}: 'rank' chooses heads for one budget, and these are "
            f"{len(recipe.budgets)}: give each a run"
        )
    if "method" not in recipe.rank:
        raise PruningError(f"recipe {recipe.name}: 'rank' needs a method, as in {{method: michel}}")
    shared = {name: recipe.train.get(name) for name in _RANK_FLAGS}
    given = {**shared, "seed": str(recipe.seed), **recipe.rank}
    flags = {name: value for name, value in given.items() if value is not None}
    flags |= {"output": str(start_of(recipe, folder)), **recipe.own_package()}
    module = (Path(sys.executable).name, "-m", "dsp_fairseq.cli.rank_heads")
    return [*module, recipe.start, "--data", recipe.data, *arguments_of(flags)]


def evaluation_command(run: Run, target: Target, split: str) -> list[str]:
    """The command that evaluates a split, with one of several budgets if the model has them."""
    evaluation, best = evaluation_of(run.recipe), run.folder / BEST
    output = target.folder / evaluation.file(split)
    return evaluation.command(run.recipe, best, split, on_cpu(run), target.budget, output)


# ---- all of them


def commands_of(run: Run) -> list[list[str]]:
    """All commands of a run, in their order."""
    cpu = on_cpu(run)
    commands = []
    if run.recipe.rank is not None:
        commands.append(rank_command(run.recipe, run.folder))
    if trains(run):
        commands.append(train_command(run.recipe, run.folder, cpu))
    elif run.recipe.rank is not None:
        ranked = start_of(run.recipe, run.folder)
        commands.append(["cp", str(ranked), str(run.folder / BEST)])
    for target in targets_of(run):
        for split in run.recipe.evaluate:
            commands.append(evaluation_command(run, target, split))
    return commands


def on_cpu(run: Run) -> bool:
    """Whether a run goes without a GPU."""
    # A recipe in 16 bits is for GPUs; without one, its commands can still be shown.
    return not torch.cuda.is_available() and not run.recipe.train.get("fp16")
