"""A grid of methods, budgets and seeds over a recipe, one JSON line a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PruningError
from ..files import write_whole
from .checks import check_dense, check_run
from .grid import Grid, Job
from .launchers import Handle, Launcher
from .processes import locked
from .progress import stage_of
from .provenance import data_hash
from .record import RUN_FILE, read_record
from .results import DENSE, RUNS_FILE, read_lines, read_result
from .run import RESULT_FILE, Run, is_done

POLL_SECONDS = 1.0

# ---- before anything is run


def check_jobs(grid: Grid, jobs: Sequence[Job]) -> None:
    """Finds mistakes in the grid before anything is run.

    Raises:
        PruningError: the first mistake.
    """
    _refuse_another_dense(grid, read_lines(grid.folder / RUNS_FILE))
    coming = grid.dense is not None and not is_done(grid.dense)
    for job in jobs:
        check_run(job.run, start_is_coming=coming)
    if grid.dense is not None:
        check_dense(grid.dense)
        if coming:
            _refuse_orphans(grid.dense, jobs)
    if grid.dense is None and grid.dense_folder is not None:
        result = grid.dense_folder / RESULT_FILE
        if not result.exists():
            raise PruningError(
                f"there is no {result} of the dense run: make it with "
                f"dsp-run DENSE-RECIPE --save-dir {grid.dense_folder}"
            )
        found = read_result(grid.dense_folder)
        kept, number = found.get("budget"), found.get("num_heads")
        if kept != number:
            raise PruningError(
                f"{grid.dense_folder} keeps {kept} of {number} heads: the dense run keeps all"
            )
        if "test" not in found.get("scores", ()):
            raise PruningError(f"{result} has no score of test, which a report is of")
    if grid.dense_folder is not None:
        _check_alike(grid, all(is_done(job.run) for job in jobs))


def _refuse_another_dense(grid: Grid, lines: Iterable[Mapping[str, Any]]) -> None:
    """A dense run in place of another of its recipe and seed, with which runs were compared."""
    if grid.dense_folder is None:
        return
    result = grid.dense_folder / RESULT_FILE
    seed = grid.dense.recipe.seed if grid.dense else None
    if seed is None and result.exists():
        seed = read_result(grid.dense_folder).get("seed")
    for line in lines:
        other = grid.folder / line["folder"]
        if (
            is_dense_of(grid, line)
            and line.get("seed") == seed
            and (other / RESULT_FILE).exists()
            and other.resolve() != grid.dense_folder.resolve()
        ):
            raise PruningError(
                f"the runs in {grid.folder} are compared with the dense run in {other.resolve()}: "
                "give this grid another folder, or remove that run"
            )


def _refuse_orphans(dense: Run, jobs: Sequence[Job]) -> None:
    """Runs that were made from an earlier dense model, which is about to be made anew."""
    if not dense.starts_anew:
        return
    for job in jobs:
        folder, start = job.run.folder, job.run.recipe.start or job.run.recipe.teacher
        own = start and Path(start).resolve().parent == dense.folder.resolve()
        if own and folder != dense.folder and (folder / RUN_FILE).exists():
            raise PruningError(
                f"{folder} was made from the dense run in {dense.folder}, which is not whole, and "
                f"a new one would be another: put its files back, or remove {folder} too"
            )


def _check_alike(grid: Grid, done: bool) -> None:
    """The dense run is compared with the others, so its data and evaluation have to be theirs."""
    assert grid.dense_folder is not None
    record = read_record(grid.dense_folder)
    recipe = grid.dense.recipe if grid.dense else record.recipe
    theirs, ours = ({} if r is None else r.evaluation() for r in (recipe, grid.recipe))
    if recipe is not None and theirs != ours:
        raise PruningError(
            f"the dense run in {grid.dense_folder} is evaluated with {theirs}, and the others with "
            f"{ours}: give both the same 'generate'"
        )
    if done and not Path(grid.recipe.data).is_dir():
        return
    found = record.data_sha256
    if grid.dense is not None and found is None:
        found = data_hash(Path(grid.dense.recipe.data))
    if found not in (None, data_hash(Path(grid.recipe.data))):
        raise PruningError(
            f"the dense run in {grid.dense_folder} was made from other data than "
            f"{grid.recipe.data} is now: make it anew"
        )


# ---- the lines


def collect(grid: Grid, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Writes one line a finished run to ``runs.jsonl``, whole or not at all.

    The lines come from the runs' own results, so that a kill at any moment is healed by the next
    call. Lines of runs that another grid made in the same folder are kept.
    """
    grid.folder.mkdir(parents=True, exist_ok=True)
    with locked(grid.folder, wait=True):
        return _collect(grid, jobs, grid.folder / RUNS_FILE)


def _collect(grid: Grid, jobs: Sequence[Job], path: Path) -> list[dict[str, Any]]:
    ids = {name for job in jobs for name, _ in job.results} - {DENSE}
    lines = [line for line in read_lines(path) if line["id"] not in ids]
    lines = [line for line in lines if (grid.folder / line["folder"] / RESULT_FILE).exists()]
    if grid.dense_folder is not None:
        lines = _with_dense(grid, grid.dense_folder, lines)
    for job in jobs:
        for name, folder in job.results:
            if name != DENSE and (folder / RESULT_FILE).exists():
                lines.append(_line(grid, folder, name, job.method))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)
    return lines


def _with_dense(grid: Grid, folder: Path, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines with that of the dense run, in place of an earlier one of its recipe and seed."""
    if not (folder / RESULT_FILE).exists():
        return lines
    own = _line(grid, folder, DENSE, DENSE)
    others = [
        line
        for line in lines
        if not is_dense_of(grid, line)
        or (line.get("seed") != own.get("seed") and line["folder"] != own["folder"])
    ]
    taken = {line["id"] for line in others}
    recipe = f"{DENSE}-{grid.recipe.name}"
    names = (DENSE, recipe, f"{recipe}-s{own.get('seed')}")
    return [*others, {**own, "id": next(name for name in names if name not in taken)}]


def is_dense_of(grid: Grid, line: Mapping[str, Any]) -> bool:
    """Whether a line is of a dense run of this grid; other recipes have their own."""
    return line.get("method") == DENSE and line.get("recipe") == grid.recipe.name


def _line(grid: Grid, folder: Path, name: str, method: str) -> dict[str, Any]:
    relative = os.path.relpath(folder.resolve(), grid.folder.resolve())
    own = {"id": name, "recipe": grid.recipe.name, "method": method, "folder": relative}
    return {**read_result(folder), **own}


# ---- running


@dataclass
class Progress:
    """How far one job is."""

    job: Job
    handle: Handle | None = None
    error: str | None = None

    @property
    def done(self) -> bool:
        return is_done(self.job.run)

    @property
    def stage(self) -> str:
        """Waiting, failed, or what :func:`stage_of` says."""
        if not self.done and self.error is not None:
            return "failed"
        if not self.done and self.handle is None:
            return "waiting"
        return stage_of(self.job.run)


def run_jobs(
    jobs: Sequence[Progress],
    launcher: Launcher,
    limit: int,
    on_change: Callable[[], None],
    first: Progress | None = None,
) -> None:
    """Runs all jobs that are not done; one that fails does not stop the others.

    Args:
        jobs: all jobs; their handles and errors are filled in.
        launcher: what starts them.
        limit: how many run at the same time.
        on_change: called once a second.
        first: the job that all others start from; they are not run if it fails.
    """
    waiting = [progress for progress in jobs if not progress.done]
    running: list[Progress] = []
    while waiting or running:
        for progress in list(running):
            if progress.handle is not None and progress.handle.done():
                progress.error = progress.handle.result()
                running.remove(progress)
        if first is not None and first.error is not None:
            for progress in waiting:
                progress.error = f"not run, since {first.job.id} failed"
            waiting = []
        while waiting and len(running) < limit:
            if first is not None and not first.done and waiting[0] is not first:
                break
            progress = waiting.pop(0)
            progress.handle = launcher.submit(progress.job.run)
            running.append(progress)
        on_change()
        if running or waiting:
            time.sleep(POLL_SECONDS)
    on_change()
