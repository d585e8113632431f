"""What has to hold before a run may start: its flags, data, start and folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import torch
from fairseq import options

from ..errors import PruningError
from ..heads.family import family_of, is_gated
from ..pruning.distillation import plan_distillation
from ..pruning.ending import updates_by_epochs
from ..pruning.plan import check_schedule, plan_pruning
from ..pruning.refusals import refuse_unsupported, refuse_worst_checkpoint
from ..user_package import import_package, is_package
from .commands import commands_of, rank_command, train_flags
from .evaluation import DEFAULT_TASK, EVALUATIONS, evaluation_of
from .flags import arguments_of, given_flags, parse
from .processes import search_path
from .provenance import data_hash, file_hash, package_hash
from .recipe import Recipe, read_as, read_yaml
from .record import RUN_FILE
from .run import RESULT_FILE, Run, is_done


def check_run(run: Run, start_is_coming: bool = False) -> None:
    """Checks all that can be known before training, on whatever machine.

    Args:
        run: what is to be run.
        start_is_coming: whether the checkpoint that it starts or learns from is still to be made.

    Raises:
        PruningError: flags that do not parse, missing or other data, a missing start, or a folder
            of another run.
    """
    done = is_done(run)
    if not (done and _lost_its_package(run.recipe)):
        check_flags(run.recipe, run.folder)
    check_names(run)
    # What is finished needs neither its data nor its start any more.
    if not done:
        check_data(run)
        check_package(run)
        if not start_is_coming:
            check_start(run)
    check_folder(run)
    if not done:
        check_evaluation(run.recipe)


def _lost_its_package(recipe: Recipe) -> bool:
    """Whether its package is gone, and its results can be read all the same."""
    lost = recipe.user_dir is not None and not is_package(recipe.user_dir)
    return lost and recipe.train.get("task", DEFAULT_TASK) in EVALUATIONS


def check_names(run: Run) -> None:
    """Checks the names of folders: fairseq takes ``A:B`` for a list of files.

    Raises:
        PruningError: the folder of the run has such a name.
    """
    if os.pathsep in str(run.folder):
        raise PruningError(
            f"fairseq cannot read checkpoints from {run.folder}, since it splits paths at "
            f"{os.pathsep!r}: give another recipe name or --save-dir"
        )


def check_machine(run: Run) -> None:
    """Checks that there are as many GPUs as the recipe needs, and the commands of the run.

    Raises:
        PruningError: the recipe needs GPUs that are not there, or a command is not installed.
    """
    for name in sorted({command[0] for command in commands_of(run)}):
        if which(name, path=search_path()) is None:
            raise PruningError(
                f"there is no {name} beside {sys.executable} or on the PATH: add the folder to the "
                "PATH in which pip installed the commands of fairseq"
            )
    train, gpus = run.recipe.train, torch.cuda.device_count()
    if train.get("fp16") and not gpus:
        raise PruningError(f"recipe {run.recipe.name} trains with --fp16, which needs a GPU")
    if 0 < gpus < run.recipe.processes:
        raise PruningError(
            f"recipe {run.recipe.name} trains in {run.recipe.processes} processes, and this "
            f"machine has {gpus} GPUs: give --processes {gpus}, and raise --set update-freq=U so "
            "that processes times U stays the same"
        )


def check_data(run: Run) -> None:
    """Checks that the data is there, and is what the run was made from.

    Raises:
        PruningError: the data is missing, or is not what the run was made from.
    """
    folder, recipe = Path(run.recipe.data), run.recipe
    if not folder.is_dir():
        how = f": make it with: {recipe.prepare}" if recipe.prepare else ""
        raise PruningError(f"there is no data folder {folder}{how}")
    evaluation_of(recipe).check_folder(folder)
    if run.data_sha256 is not None and data_hash(folder) != run.data_sha256:
        raise PruningError(
            f"the data in {folder} is not what this run was made from: its sha256 is "
            f"{data_hash(folder)[:12]}..., that in the run's file {run.data_sha256[:12]}..."
        )


def check_package(run: Run) -> None:
    """Checks that the user's own package is what the run was made with.

    Raises:
        PruningError: its files have changed.
    """
    folder = run.recipe.own_folder
    if folder is None or run.package_sha256 in (None, package_hash(folder)):
        return
    raise PruningError(
        f"the package in {folder} has changed since this run was made with it: give the recipe "
        "with another --save-dir, or put its files back"
    )


def check_evaluation(recipe: Recipe) -> None:
    """Checks that what training makes can be evaluated.

    Raises:
        PruningError: a split is missing, or the model cannot read it.
    """
    for split in recipe.evaluate:
        evaluation_of(recipe).check_split(recipe, split)


def check_start(run: Run) -> None:
    """Checks that the checkpoints to start and to learn from are there, and are the same.

    Raises:
        PruningError: one is missing while it is needed, or is another one.
    """
    for path, verb in ((run.recipe.start, "start"), (run.recipe.teacher, "learn")):
        if path is not None and run.starts_anew and not Path(path).is_file():
            how = f": make it with: {run.recipe.make_start}" if run.recipe.make_start else ""
            folder = Path(path).parent
            if (folder / RESULT_FILE).exists():
                how = f", though its run is finished: put it back, or remove {folder} and make it"
            raise PruningError(f"there is no checkpoint {path} to {verb} from{how}")
    _check_unchanged(run)


def _check_unchanged(run: Run) -> None:
    for path, sha256, verb in (
        (run.recipe.start, run.start_sha256, "started"),
        (run.recipe.teacher, run.teacher_sha256, "learned"),
    ):
        if path and sha256 and Path(path).is_file() and file_hash(Path(path)) != sha256:
            raise PruningError(
                f"{path} is not the checkpoint that {run.folder} {verb} from: remove that folder "
                "to run it anew"
            )


def check_folder(run: Run) -> None:
    """Checks that the folder is free, or holds this very run.

    Raises:
        PruningError: the folder holds a run with other settings, or of other data.
    """
    path = run.folder / RUN_FILE
    if not path.exists():
        return
    stored = read_yaml(path)
    theirs = read_as(Recipe, stored.get("recipe") or {}, path)
    if "package_sha256" not in stored:
        # An earlier version imported the package, and recorded nothing of it.
        theirs = theirs.with_package(run.recipe.user_dir)
    for name, there, here in theirs.differences(run.recipe):
        raise PruningError(
            f"{run.folder} holds a run with other settings ({name}: {there} there, {here} here): "
            "give another --save-dir, or remove the folder"
        )
    if not is_done(run) or Path(run.recipe.data).is_dir():
        check_data(replace(run, data_sha256=stored.get("data_sha256")))
    if run.recipe.user_dir is not None and is_package(run.recipe.user_dir):
        check_package(replace(run, package_sha256=stored.get("package_sha256")))
    start, teacher = (stored.get(name) for name in ("start_sha256", "teacher_sha256"))
    _check_unchanged(replace(run, start_sha256=start, teacher_sha256=teacher))


def prepare_data(recipe: Recipe, source: str) -> None:
    """Makes the data of a recipe by its own command, unless it is there.

    Args:
        recipe: what is to be run.
        source: what the command's ``--from`` gets; empty leaves it out.

    Raises:
        PruningError: the recipe has no such command, or it failed.
    """
    if Path(recipe.data).is_dir():
        return
    if not recipe.prepare:
        raise PruningError(f"recipe {recipe.name} does not say how {recipe.data} is made")
    command = [*shlex.split(recipe.prepare), *(["--from", source] if source else [])]
    print(shlex.join(command), flush=True)
    environment = {**os.environ, "PATH": search_path()}
    if status := subprocess.run(command, env=environment).returncode:
        raise PruningError(f"there is no data in {recipe.data}: that command ended with {status}")


# ---- flags

_OWN_FLAGS = {
    *("user-dir", "save-dir", "finetune-from-model", "restore-file"),
    # The names of the checkpoints that are evaluated and gone on with.
    *("checkpoint-suffix", "checkpoint-shard-count"),
}
_NEEDED = {"no-save", "no-last-checkpoints", "disable-validation"}
"""Flags without which there is no best or no last checkpoint."""


def check_flags(recipe: Recipe, folder: Path) -> None:
    """Parses the flags as fairseq's own commands would, and checks the pruning flags.

    Raises:
        PruningError: a flag that does not exist, a value that is refused, or a missing budget.
    """
    if recipe.user_dir is not None:
        import_package(recipe.user_dir)
    if recipe.budget is recipe.cost_budget is None:
        raise PruningError(
            f"recipe {recipe.name} has no budget: give --num-of-heads K, or set cost-budget"
        )
    if own := sorted(_OWN_FLAGS & given_flags(recipe.train)):
        raise PruningError(f"recipe {recipe.name}: --{own[0]} is set by dsp-run: leave it out")
    if needed := sorted(_NEEDED & given_flags(recipe.train)):
        raise PruningError(
            f"recipe {recipe.name}: with --{needed[0]} no checkpoint is left that could be "
            "evaluated or gone on with: leave it out"
        )
    args = _parsed(recipe, folder)
    refuse_worst_checkpoint(args)
    evaluation = evaluation_of(recipe)
    if is_gated(args):
        layout = family_of(args).layout(args)
        plan = plan_pruning(args, layout)
        if recipe.rank is None:
            args.data = recipe.data if Path(recipe.data).is_dir() else None
            check_schedule(plan, layout, args.max_update, updates_by_epochs(args))
        refuse_unsupported(args, family_of(args))
        plan_distillation(args)
    evaluation.check_flags(recipe)
    if recipe.rank is not None:
        rank_command(recipe, folder)


def check_dense(run: Run) -> None:
    """Checks that a run keeps all heads; :func:`check_run` is to be called before.

    Raises:
        PruningError: it prunes.
    """
    args = _parsed(run.recipe, run.folder)
    if not is_gated(args):
        return
    number = family_of(args).layout(args).num_heads
    if run.recipe.budgets != [str(number)]:
        raise PruningError(
            f"recipe {run.recipe.name} does not keep all heads, and the dense run keeps all: give "
            f"it num-of-heads: {number}"
        )


def _parsed(recipe: Recipe, folder: Path) -> Any:
    # Without the name of the data, which need not be there yet.
    words = ["", *arguments_of(train_flags(recipe, folder))]
    return parse(recipe, "train", options.get_training_parser(), words)
