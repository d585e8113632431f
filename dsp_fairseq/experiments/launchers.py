"""What starts the runs of a sweep: threads over processes of this machine, or Slurm jobs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import torch

from ..errors import PruningError, importing, one_line
from .processes import interrupt
from .run import Run

Attempt = Callable[[Run], "str | None"]
"""Runs a run in this process; returns why it failed, in one line, or None."""


class Handle(Protocol):
    """A run that was started; a :class:`concurrent.futures.Future` is one."""

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""

    def result(self) -> str | None:
        """Why it failed, in one line; None if it did not."""


class Launcher(Protocol):
    """Starts runs; at most ``limit`` should be going on at a time."""

    limit: int

    def submit(self, run: Run) -> Handle:
        """Starts a run."""

    def cancel(self) -> None:
        """Gives up all that was started."""


class LocalLauncher:
    """Threads, each of which waits for the processes of one run; runs take the GPUs in turn."""

    def __init__(
        self, attempt: Attempt, folder: Path, limit: int, parameters: Mapping[str, Any]
    ) -> None:
        self.limit = limit
        self._run = attempt
        self._threads = ThreadPoolExecutor(limit)
        self._slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(limit):
            self._slots.put(slot)

    def submit(self, run: Run) -> Handle:
        return self._threads.submit(self._attempt, run)

    def _attempt(self, run: Run) -> str | None:
        slot, gpus = self._slots.get(), torch.cuda.device_count()
        if gpus > 1 and run.recipe.processes == 1:
            run = replace(run, gpu=slot % gpus)
        try:
            return self._run(run)
        finally:
            self._slots.put(slot)

    def cancel(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Submission:
    """What a job does, in the form that submitit submits again where its time runs out."""

    attempt: Attempt

    def __call__(self, run: Run) -> str | None:
        # submitit ignores terminations, and the training would live on.
        signal.signal(signal.SIGTERM, interrupt)
        return self.attempt(run)

    def checkpoint(self, run: Run) -> Any:
        """submitit's hook before a job is ended: the new one goes on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, run)


class SubmititLauncher:
    """Jobs of a Slurm cluster, or with ``cluster: local`` of submitit's own local executor."""

    def __init__(
        self, attempt: Attempt, folder: Path, limit: int, parameters: Mapping[str, Any]
    ) -> None:
        with importing("submitit"):
            import submitit
        self.limit = limit
        self._submission = Submission(attempt)
        parameters = {"timeout_min": 24 * 60, "name": "dsp-sweep", **parameters}
        cluster = parameters.pop("cluster", None)
        try:
            self._executor = submitit.AutoExecutor(folder / "jobs", cluster=cluster)
            self._executor.update_parameters(**parameters)
        except Exception as error:  # whatever a cluster's plug-in finds amiss
            raise PruningError(f"submitit refuses: {one_line(error)}") from None
        self._is_local = self._executor.cluster == "local"
        self._jobs: list[Any] = []

    def submit(self, run: Run) -> Handle:
        job = self._executor.submit(self._submission, run)
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


@dataclass(frozen=True)
class _Submitted:
    job: Any

    def done(self) -> bool:
        return self.job.done()

    def result(self) -> str | None:
        try:
            return self.job.result()
        except Exception as error:  # a job that the cluster ended raises here
            return f"job {self.job.job_id}: {one_line(error)}; see {self.job.paths.stderr}"


LAUNCHERS: dict[str, Callable[[Attempt, Path, int, Mapping[str, Any]], Launcher]] = {
    "local": LocalLauncher,
    "submitit": SubmititLauncher,
}
