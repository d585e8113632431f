"""scripts/setup.sh where something is missing: a clear line of what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup(tmp_path):
    """Runs a copy of the set-up in an empty clone, with these variables."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup.sh", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run_setup(here: Path = tmp_path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(here / "scripts/setup.sh")],
            capture_output=True,
            text=True,
            env={**os.environ, **variables},
        )

    return run_setup


def _fake_python(folder: Path, version: str) -> Path:
    """An interpreter that says it is of another version."""
    path = folder / "python-fake"
    code = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0, 'final', 0);"
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{code} $2"\nexit 1\n')
    path.chmod(0o755)
    return path


def test_a_python_that_is_too_old_or_too_new(setup, tmp_path):
    for version in ("3.9", "3.14"):
        python = _fake_python(tmp_path, version)
        done = setup(PYTHON=str(python))
        assert done.returncode == 1
        assert (
            done.stderr
            == f"setup.sh: error: PYTHON={python} is not a Python 3.10 to 3.13: name one that is\n"
        )
    assert not (tmp_path / ".venv").exists()


def test_no_compiler(setup, tmp_path):
    if sys.version_info[:2] == (3, 12):
        pytest.skip("fairseq-fixed has a wheel for Python 3.12")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "cksum", "cat", "head", "grep", "rm", "dirname", "env", "tail"):
        if path := shutil.which(name):
            (tools / name).symlink_to(path)
    done = setup(PYTHON=sys.executable, PATH=str(tools))
    assert done.returncode == 1
    assert "fairseq needs a C++ compiler: install one" in done.stderr


def test_a_second_run_does_nothing():
    stamp = ROOT / ".venv/dsp-setup.stamp"
    if not stamp.exists():
        pytest.skip("this environment was not made by scripts/setup.sh")
    command = ["bash", str(ROOT / "scripts/setup.sh")]
    subprocess.run(command, check=True, capture_output=True)
    before = stamp.stat().st_mtime_ns
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert stamp.stat().st_mtime_ns == before


@pytest.mark.parametrize("long", [False, True], ids=["short path", "long path"])
def test_an_environment_stays_under_another_name_of_its_folder(setup, tmp_path, long):
    """One that was moved here is made anew, but not before there is a Python for that."""
    here, link = tmp_path / "a folder", tmp_path / "link"
    here.mkdir()
    for name in ("scripts", "pyproject.toml"):
        (tmp_path / name).rename(here / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", here / ".venv"], check=True)
    link.symlink_to(here)
    pip = here / ".venv/bin/pip"
    for folder, stays in ((here, True), (link, True), (tmp_path, False)):
        python = folder / ".venv/bin/python"
        pip.write_text(f"#!/bin/sh\n'''exec' \"{python}\" \"$0\"\n" if long else f"#!{python}\n")
        done = setup(here=link, PYTHON="/bin/false")
        assert done.returncode == 1
        assert ("PYTHON=/bin/false is not a Python" in done.stderr) != stays
        assert pip.exists()
