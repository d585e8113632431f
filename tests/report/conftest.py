"""Sweeps that are made up, and their reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_sweep import make_sweep

from dsp_fairseq.cli.report import main
from dsp_fairseq.experiments.results import read_sweep
from dsp_fairseq.report.document import build_blocks, write_report
from dsp_fairseq.report.significance import gather


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
def markdown() -> Callable[[Path], str]:
    """The Markdown of a sweep's report, of which nothing is drawn or written."""

    def build(folder: Path) -> str:
        sweep = read_sweep(folder)
        return "\n\n".join(map(str, build_blocks(sweep, gather(sweep))))

    return build


@pytest.fixture
def report(tmp_path) -> Callable[[Path], str]:
    """Writes a report and returns its Markdown."""

    def write(sweep: Path) -> str:
        write_report(sweep, tmp_path / "report")
        return (tmp_path / "report/report.md").read_text()

    return write
