"""dsp-average between fairseq's own commands."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from dsp_fairseq.cli import average as average_command
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.errors import CommandExit


@pytest.fixture
def run_folder(train, folder):
    """A run of 10 updates that freezes after 6 and keeps a checkpoint of every update."""
    path = folder / "run"
    if not path.exists():
        assert train(path, "--save-interval-updates", "1").status == 0
    return path


@pytest.fixture
def averaged(run_folder, folder):
    path = folder / "average.pt"
    if not path.exists():
        average_command.main(["--last", "3", str(run_folder), "--output", str(path)])
    return path


def test_the_newest_of_a_run_are_averaged(run_folder, folder, capsys):
    average_command.main([str(run_folder), "--last", "2", "--output", str(folder / "two.pt")])
    out = capsys.readouterr().out
    assert re.search(r"averaging checkpoint_\d_9\.pt, checkpoint_\d_10\.pt\n", out)
    assert "mean of 2 checkpoints (updates 9 to 10), frozen, 6 of 24 heads" in out


def test_an_average_generates_and_so_does_its_export(averaged, generate, folder):
    hypotheses = generate(averaged).hypotheses
    assert len(hypotheses) == 30
    pruned = folder / "pruned.pt"
    export_command.main([str(averaged), "--output", str(pruned)])
    assert generate(pruned).hypotheses == hypotheses


def test_training_continues_from_an_average(averaged, train, folder):
    outcome = train(folder / "further", "--finetune-from-model", averaged, "--max-update", "2")
    assert outcome.status == 0


def test_checkpoints_from_before_the_freeze_are_refused(run_folder, folder):
    with pytest.raises(CommandExit, match=r"\.pt is not frozen: which 6 of 24 heads"):
        average_command.main(["--last", "9", str(run_folder), "--output", str(folder / "nine.pt")])
    assert not (folder / "nine.pt").exists()


def test_a_run_of_fairseqs_own_transformer(train, generate, folder):
    run = folder / "stock"
    assert train(run, "--save-interval-updates", "5", gated=False).status == 0
    average_command.main(["--last", "2", str(run), "--output", str(folder / "stock.pt")])
    assert len(generate(folder / "stock.pt").hypotheses) == 30


def test_what_a_person_sees(folder, warm):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dsp_fairseq.cli.average", *arguments],
            capture_output=True,
            text=True,
        )

    assert "--last 5 runs/mine" in run("--help").stdout
    refused = run(str(folder / "none.pt"), "--output", str(folder / "x.pt"))
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("dsp_fairseq: error: cannot read")
    assert "Traceback" not in refused.stderr
