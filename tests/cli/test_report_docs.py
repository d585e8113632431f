"""The commands of docs/report.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_sweep import make_sweep

ROOT = Path(__file__).parents[2]
MODULES = {
    "dsp-report": "cli.report",
    "dsp-average": "cli.average",
    "dsp-export": "cli.export",
}


def _commands(page: str) -> str:
    """What a reader would paste: the indented lines."""
    return "\n".join(re.findall(r"^    (.*)$", page, re.MULTILINE))


@pytest.mark.slow
def test_every_command_of_the_page(train, corpus, tmp_path):
    make_sweep(tmp_path / "runs/mine", ("gumbel",), (6,), (1,), sentences=12)
    run = tmp_path / "runs/mine"
    assert train(run, "--save-interval-updates", "1", "--max-update", "12").status == 0
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").symlink_to(corpus)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in MODULES.items():
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dsp_fairseq.{module} "$@"\n')
        script.chmod(0o755)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", _commands((ROOT / "docs/report.md").read_text())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "runs/mine/report/report.html").exists()
    assert len(re.findall(r"^H-", (run / "average.out").read_text(), re.MULTILINE)) == 30
    assert (run / "average-pruned.pt").exists()
