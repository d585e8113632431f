"""Does what is missing of a run: heads, training, evaluation, scores."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..checkpoints.checkpoint import peek
from ..errors import CommandExit, PruningError, one_line
from ..files import LAST, write_whole
from ..pruning.resume import copy_whole, mend_checkpoints
from .checks import check_folder, check_machine, check_run
from .commands import (
    commands_of,
    evaluation_command,
    max_update,
    on_cpu,
    rank_command,
    start_of,
    train_command,
    trains,
)
from .evaluation import evaluation_of
from .logs import LOG_FILE
from .processes import locked, run_logged
from .provenance import data_hash, device, file_hash, git_state, package_hash, versions
from .record import RUN_FILE
from .results import read_result
from .run import (
    BEST,
    FORMAT_VERSION,
    RESULT_FILE,
    Run,
    Target,
    is_done,
    targets_of,
    unfinished,
)
from .summary import start_seconds, summarise


def execute(run: Run, wait: bool = False) -> list[dict[str, Any]]:
    """Does what is missing of a run: heads, training, evaluation, scores.

    Args:
        run: what to run.
        wait: if another process works on it, whether to wait or to refuse.

    Returns:
        what each ``result.json`` holds, one a budget.

    Raises:
        PruningError: something is missing, or a command failed.
    """
    check_run(run)
    with locked(run.folder, wait) as lock:
        check_folder(run)
        if not is_done(run):
            check_machine(run)
            if not (run.folder / RUN_FILE).exists():
                text = yaml.safe_dump(describe(run), sort_keys=False, width=100)
                write_whole(run.folder / RUN_FILE, text)
            _train(run, lock)
            for target in targets_of(run):
                _evaluate(run, target, lock)
    return [read_result(target.folder) for target in targets_of(run)]


def environment_of(run: Run) -> dict[str, str]:
    """The variables that its processes get."""
    variables = {"OMP_NUM_THREADS": str(run.threads), "PYTHONWARNINGS": "ignore"}
    # Huge pages for PyTorch's large tensors: a step on a CPU spends a fifth of its time otherwise
    # on faults of fresh pages. The numbers stay the same.
    variables["THP_MEM_ALLOC_ENABLE"] = "1"
    if run.gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        number = visible[run.gpu] if visible != [""] else str(run.gpu)
        variables["CUDA_VISIBLE_DEVICES"] = number
    return variables


def _step(run: Run, command: Sequence[str], output: Path, log: Path, lock: int) -> None:
    """Runs one command of a run.

    Raises:
        PruningError: it failed; its last words, and where the others are.
    """
    status = run_logged(command, output, log, environment_of(run), lock)
    if status != 0:
        name = command[2] if command[1] == "-m" else command[0]
        raise PruningError(f"{name} failed with status {status} ({_last_words(log)}); log: {log}")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")[:300]


def _train(run: Run, lock: int) -> None:
    log = run.folder / LOG_FILE
    mend_checkpoints(run.folder)
    if run.starts_anew and _tells_its_end(log):
        # Its checkpoints are gone: it would say of the next training that it came to its end.
        log.unlink()
    start = start_of(run.recipe, run.folder)
    if run.recipe.rank is not None and start is not None:
        if not start.exists():
            _step(run, rank_command(run.recipe, run.folder), log, log, lock)
        if not trains(run):
            if not (run.folder / BEST).exists():
                copy_whole(start, run.folder / BEST)
            return
    if not has_trained(run):
        _step(run, train_command(run.recipe, run.folder, on_cpu(run)), log, log, lock)
    if not (run.folder / BEST).exists():
        raise PruningError(f"training left no {BEST} in {run.folder}; see {log}")


def has_trained(run: Run) -> bool:
    """Whether training came to its end: fairseq-train, started again, would do one more update."""
    log, last = run.folder / LOG_FILE, run.folder / LAST
    if not last.exists():
        return False
    if _tells_its_end(log):
        return True
    return 0 < max_update(run) <= peek(last).updates


def _tells_its_end(log: Path) -> bool:
    return log.exists() and " | done training in " in log.read_text("utf-8", "replace")


def _evaluate(run: Run, target: Target, lock: int) -> None:
    if target.folder != run.folder:
        target.folder.mkdir(exist_ok=True)
        for name in (RUN_FILE, LOG_FILE):
            link = target.folder / name
            # A copy of a folder may have files in place of links.
            if not (link.is_symlink() or link.exists()):
                link.symlink_to(Path("..") / name)
    for split in run.recipe.evaluate:
        _evaluate_split(run, target, split, lock)
    write_whole(target.folder / RESULT_FILE, json.dumps(summarise(run, target)) + "\n")


def _evaluate_split(run: Run, target: Target, split: str, lock: int) -> None:
    best, printed = run.folder / BEST, target.folder / f"{split}.out"
    if printed.exists() and printed.stat().st_mtime_ns > best.stat().st_mtime_ns:
        return
    part = unfinished(target, split)
    log = target.folder / f"{split}.log"
    for path in (part, log, target.folder / evaluation_of(run.recipe).file(split)):
        path.unlink(missing_ok=True)
    _step(run, evaluation_command(run, target, split), part, log, lock)
    os.replace(part, printed)


def attempt(run: Run) -> str | None:
    """Executes a run; returns why it failed, in one line, or None."""
    try:
        execute(run, wait=True)
    except (Exception, CommandExit) as error:  # one bad run must not stop a sweep
        return one_line(error)
    return None


def describe(run: Run) -> dict[str, Any]:
    """What ``run.yaml`` holds: enough to run it again, and to know what it was run with."""
    recipe = run.recipe
    return {
        "format_version": FORMAT_VERSION,
        "recipe": recipe.settings(),
        "threads": run.threads,
        "seed": recipe.seed,
        "data_sha256": data_hash(Path(recipe.data)),
        "start_sha256": _hash_if_there(recipe.start),
        "teacher_sha256": _hash_if_there(recipe.teacher),
        "package_sha256": package_hash(recipe.own_folder) if recipe.own_folder else None,
        # A ranked checkpoint is still to be made, and stays in the folder.
        "start_seconds": None if recipe.rank is not None else start_seconds(run),
        # A checkpoint from elsewhere is continued as fairseq-train would; the record says so.
        "continued_from_unknown": not run.starts_anew,
        "versions": versions(),
        "git": git_state(),
        "device": device(run.gpu, recipe.processes, cpu=bool(recipe.train.get("cpu"))),
        "commands": [shlex.join(command) for command in commands_of(run)],
    }


def _hash_if_there(path: str | None) -> str | None:
    return file_hash(Path(path)) if path and Path(path).is_file() else None
