"""scripts/test-matrix.sh: what it would run, and that running nothing is no success."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/test-matrix.sh"


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )


@pytest.fixture
def bare(tmp_path) -> dict[str, str]:
    """The variables of a machine without any Python."""
    for name in ("bash", "git", "mktemp", "rm", "dirname", "cat"):
        if path := shutil.which(name):
            (tmp_path / name).symlink_to(path)
    return {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path / "none"), "PYTHONS": ""}


def test_a_dry_run_has_a_row_for_each_python():
    done = _run("--dry-run")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[0] for row in rows[:4]] == ["3.10", "3.11", "3.12", "3.13"]
    assert rows[4][1] == "23.2"
    assert any("would be run with" in line for line in done.stdout.splitlines())


def test_nothing_to_run_is_no_success(bare):
    done = _run(**bare)
    assert done.returncode == 1
    assert done.stdout.count("not run: there is no Python") == 5


def test_versions_can_be_chosen():
    done = _run("--dry-run", "--only", "3.10 3.13")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if "left out" in line] == [
        "3.11",
        "3.12",
    ]


def test_a_version_that_is_not_supported():
    done = _run("--only", "3.9")
    assert done.returncode == 1
    assert done.stderr == ("test-matrix.sh: error: --only 3.9: choose from 3.10 3.11 3.12 3.13\n")
