"""Sweeps that are made up, and their reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_sweep import make_sweep

from dsp_fairseq.cli.report import main
from dsp_fairseq.report.document import write_report


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> tuple[Path, Path]:
    """The folder of a sweep (two methods, two budgets, three seeds), and its report."""
    folder = tmp_path_factory.mktemp("report")
    sweep = make_sweep(folder / "sweep")
    main([str(sweep), "--output", str(folder / "report")])
    return sweep, folder / "report"


@pytest.fixture
def small(tmp_path) -> Path:
    """One method, two budgets, two seeds."""
    return make_sweep(tmp_path / "sweep", methods=("gumbel",), seeds=(1, 2), sentences=24)


@pytest.fixture
def report(tmp_path):
    """Writes a report and returns its Markdown."""

    def write(sweep: Path) -> str:
        write_report(sweep, tmp_path / "report")
        return (tmp_path / "report/report.md").read_text()

    return write
