"""Reading the results of a sweep."""

from __future__ import annotations

import json

import pytest
from made_up_sweep import make_sweep

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.results import read_sweep


@pytest.fixture
def small(tmp_path):
    """One method, two budgets, two seeds."""
    return make_sweep(tmp_path / "sweep", methods=("gumbel",), seeds=(1, 2), sentences=24)


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(PruningError, match="give the output folder of dsp-sweep"):
        read_sweep(tmp_path)
    (tmp_path / "runs.jsonl").write_text('{"id": "a", "re')
    with pytest.raises(PruningError, match="holds no finished run yet"):
        read_sweep(tmp_path)
    line = json.dumps({"id": "a", "budget": float("inf")})
    (tmp_path / "runs.jsonl").write_text(line + "\n")
    with pytest.raises(PruningError, match="line 1 is not the result of a run"):
        read_sweep(tmp_path)
    (tmp_path / "runs.jsonl").write_text('{"id": \n{}\n')
    with pytest.raises(PruningError, match="line 1 is not JSON"):
        read_sweep(tmp_path)
