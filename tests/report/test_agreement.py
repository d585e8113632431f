"""Runs in one table that were not made or evaluated alike are named."""

from __future__ import annotations

import pytest
import yaml
from made_up_sweep import make_sweep

from dsp_fairseq.experiments.results import read_sweep
from dsp_fairseq.report.agreement import disagreements
from dsp_fairseq.report.significance import gather


@pytest.fixture
def sweep(tmp_path):
    """One method, one budget, three seeds and a dense run, all with the same record."""
    folder = make_sweep(tmp_path / "sweep", ("ste",), (6,), (1, 2, 3), (1,), sentences=24)
    for run in read_sweep(folder).runs:
        _record(run)
    return folder


def _record(run, train=(), generate=(), sha256="ab", device="CPU (x86_64)", package="ef"):
    recipe = {
        "name": "x",
        "data": "d",
        "train": {"lr": "1", "seed": str(run.seed), **dict(train)},
        "generate": {"beam": "5", **dict(generate)},
    }
    text = yaml.safe_dump(
        {"recipe": recipe, "data_sha256": sha256, "device": device, "package_sha256": package}
    )
    (run.folder / "run.yaml").write_text(text)


def _said(folder):
    (recipe,) = gather(read_sweep(folder))
    return list(disagreements(recipe, lambda runs: runs[0].method))


def test_runs_of_one_kind_differ_by_their_seed_alone(sweep, markdown):
    assert _said(sweep) == []
    assert "What does not compare" not in markdown(sweep)


@pytest.mark.parametrize(
    ("which", "values", "said"),
    [
        ("ste-k6-s3", {"train": {"lr": "2"}}, "ste-k6-s2 and ste-k6-s3 were made with other"),
        ("dense", {"generate": {"beam": "1"}}, "different flags of evaluation"),
        ("dense", {"sha256": "cd"}, "different data"),
        ("dense", {"package": "gh"}, "different packages of one's own, so their scores do not"),
        ("dense", {"package": None}, None),
        ("dense", {"device": "1 x NVIDIA H100"}, "different devices, so times and speeds do not"),
        ("dense", {"device": "2 x CPU (x86_64)"}, None),
        ("dense", {"train": {"lr": "2"}}, None),
        ("ste-k6-s3", {"train": {"distill-from": "dense-s3.pt", "log-interval": "9"}}, None),
        ("dense", {"generate": {"beam": "5.0", "batch-size": "64", "quiet": True}}, None),
    ],
)
def test_what_differs_is_named(sweep, markdown, which, values, said):
    run = next(run for run in read_sweep(sweep).runs if run.id.startswith(which))
    _record(run, **values)
    lines = _said(sweep)
    assert len(lines) == bool(said)
    assert not said or said in lines[0]
    assert ("### What does not compare" in markdown(sweep)) == bool(said)
    (run.folder / "run.yaml").unlink()
    assert _said(sweep) == []
