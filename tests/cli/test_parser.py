"""How commands end: closed pipes, full disks, and packages that are no packages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from dsp_fairseq.cli import heads
from dsp_fairseq.cli.parser import command
from dsp_fairseq.errors import CommandExit

COMMANDS = (
    *(
        "heads",
        "export",
        "prune",
        "average",
        "import_bert",
        "rank_heads",
        "score",
        "run",
        "sweep",
        "report",
    ),
)


def _shell(command: str) -> subprocess.CompletedProcess[str]:
    # Unbuffered, argparse would meet the error and say nothing.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=env
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_at_the_output_is_said_in_one_line(name, warm):
    done = _shell(f"{sys.executable} -m dsp_fairseq.cli.{name} --help > /dev/full")
    assert done.stderr == "dsp_fairseq: error: cannot write the output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["heads", "sweep"])
def test_a_reader_that_has_gone_is_no_error(name, warm):
    command = f"{sys.executable} -m dsp_fairseq.cli.{name} --help | true; exit ${{PIPESTATUS[0]}}"
    done = _shell(command)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_a_full_gpu_is_said_in_one_line():
    @command
    def main(_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(CommandExit, match="the GPU has too little free memory: make batches"):
        main([])


def test_a_user_dir_that_is_no_package_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="is not the folder of a Python package"):
        heads.main(["model.pt", "--user-dir", str(tmp_path)])


def test_a_flag_is_given_by_its_whole_name(tmp_path, capsys):
    with pytest.raises(SystemExit):
        heads.main([str(tmp_path / "model.pt"), "--user", str(tmp_path)])
    assert "unrecognized arguments: --user" in capsys.readouterr().err
