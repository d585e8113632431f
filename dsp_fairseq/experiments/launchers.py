"""What starts the runs of a sweep: threads over processes of this machine, or Slurm jobs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import torch

from ..errors import CommandExit, PruningError
from .execute import execute, interrupt
from .run import Run


class Handle(Protocol):
    """A run that was started."""

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""

    def error(self) -> str | None:
        """Why it failed, in one line; None if it did not."""


class Launcher(Protocol):
    """Starts runs; at most ``limit`` should be going on at a time."""

    limit: int

    def submit(self, run: Run) -> Handle:
        """Starts a run."""

    def cancel(self) -> None:
        """Gives up all that was started."""


def _one_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text.removeprefix("dsp_fairseq: error: ")


def attempt(run: Run) -> str | None:
    """Executes a run; returns why it failed, in one line, or None."""
    try:
        execute(run, wait=True)
    except (Exception, CommandExit) as error:  # one bad run must not stop a sweep
        return _one_line(error)
    return None


class LocalLauncher:
    """Threads, each of which waits for the processes of one run; runs take the GPUs in turn."""

    def __init__(self, folder: Path, limit: int, parameters: Mapping[str, Any]) -> None:
        self.limit = limit
        self._threads = ThreadPoolExecutor(limit)
        self._slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(limit):
            self._slots.put(slot)

    def submit(self, run: Run) -> Handle:
        return _Local(self._threads.submit(self._attempt, run))

    def _attempt(self, run: Run) -> str | None:
        slot, gpus = self._slots.get(), torch.cuda.device_count()
        if gpus > 1 and run.recipe.processes == 1:
            run = replace(run, gpu=slot % gpus)
        try:
            return attempt(run)
        finally:
            self._slots.put(slot)

    def cancel(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Local:
    def __init__(self, future: Future) -> None:
        self._future = future

    def done(self) -> bool:
        return self._future.done()

    def error(self) -> str | None:
        return self._future.result()


class Submission:
    """What a job does, in the form that submitit submits again where its time runs out."""

    def __call__(self, run: Run) -> str | None:
        # submitit ignores terminations, and the training would live on.
        signal.signal(signal.SIGTERM, interrupt)
        return attempt(run)

    def checkpoint(self, run: Run) -> Any:
        """submitit's hook before a job is ended: the new one goes on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, run)


class SubmititLauncher:
    """Jobs of a Slurm cluster, or with ``cluster: local`` of submitit's own local executor."""

    def __init__(self, folder: Path, limit: int, parameters: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise PruningError(
                f"--launcher submitit needs it ({error}): pip install submitit"
            ) from None
        self.limit = limit
        parameters = {"timeout_min": 24 * 60, "name": "dsp-sweep", **parameters}
        cluster = parameters.pop("cluster", None)
        try:
            self._executor = submitit.AutoExecutor(folder / "jobs", cluster=cluster)
            self._executor.update_parameters(**parameters)
        except Exception as error:  # whatever a cluster's plug-in finds amiss
            raise PruningError(f"submitit refuses: {_one_line(error)}") from None
        self._is_local = self._executor.cluster == "local"
        self._jobs: list[Any] = []

    def submit(self, run: Run) -> Handle:
        job = self._executor.submit(Submission(), run)
        self._jobs.append(job)
        return _Submitted(job)

    def cancel(self) -> None:
        for job in self._jobs:
            if job.done():
                continue
            if self._is_local:  # its cancel() sends SIGINT, which background processes ignore
                with suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)
            else:
                job.cancel(check=False)


class _Submitted:
    def __init__(self, job: Any) -> None:
        self._job = job

    def done(self) -> bool:
        return self._job.done()

    def error(self) -> str | None:
        try:
            return self._job.result()
        except Exception as error:  # a job that the cluster ended raises here
            return f"job {self._job.job_id}: {_one_line(error)}; see {self._job.paths.stderr}"


LAUNCHERS: dict[str, Callable[[Path, int, Mapping[str, Any]], Launcher]] = {
    "local": LocalLauncher,
    "submitit": SubmititLauncher,
}
