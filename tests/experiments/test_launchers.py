"""What starts the runs of a sweep."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.execute import attempt, environment_of
from dsp_fairseq.experiments.grid import jobs_of
from dsp_fairseq.experiments.launchers import LocalLauncher, SubmititLauncher


def test_local_runs_take_the_gpus_in_turn(grid, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    both = threading.Barrier(2, timeout=10)
    seen = []

    def pretend(run):
        both.wait()  # so that two runs go on at the same time
        seen.append(environment_of(run)["CUDA_VISIBLE_DEVICES"])

    launcher = LocalLauncher(pretend, Path(), 2, {})
    handles = [launcher.submit(job.run) for job in jobs_of(grid())[:4]]
    assert [handle.result() for handle in handles] == [None] * 4
    assert sorted(seen) == ["4", "4", "7", "7"]


def test_submitit_refuses_unknown_parameters(tmp_path):
    with pytest.raises(PruningError, match="submitit refuses"):
        SubmititLauncher(attempt, tmp_path, 1, {"cluster": "local", "no_such_parameter": 1})
