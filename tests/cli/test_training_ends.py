"""Trainings that end before the freeze say so, and so do their checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dsp_fairseq import USER_DIR
from dsp_fairseq.cli import heads as heads_command

AT_START = "ends this training after about"
AT_END = "this training ended after"
ANNEALED = (
    *("--lr-scheduler", "fixed", "--force-anneal", "1"),
    *("--lr", "1e-3", "--warmup-updates", "0"),
)


@pytest.mark.parametrize(
    ("flags", "known"),
    [
        (("--max-epoch", "2"), True),
        (("--stop-time-hours", "1e-9"), False),
        (("--patience", "1", "--validate-interval-updates", "2", "--lr", "1e-9"), False),
        (("--stop-min-lr", "5e-4", *ANNEALED), False),
        (("--max-update", "4"), False),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_training_that_ends_before_the_freeze_says_so(
    train, tmp_path, capsys, monkeypatch, flags, known
):
    monkeypatch.delattr("fairseq_cli.train.should_stop_early.best", raising=False)
    limit = () if "--max-update" in flags else ("--max-update", "200")
    outcome = train(tmp_path, *flags, *limit, "--cooldown-steps", "150")
    assert outcome.status == 0
    assert (AT_START in outcome.log) == known
    assert outcome.log.count(AT_END) == 1
    assert "its heads are frozen after 150: they are not frozen" in outcome.log
    for name in ("last", "best"):
        heads_command.main([str(tmp_path / f"checkpoint_{name}.pt")])
        printed = capsys.readouterr().out
        assert "6 of 24 heads kept" in printed
        assert "not frozen: the top by importance so far" in printed
        assert "the freeze comes after 150 updates" in printed


def test_a_training_that_froze_its_heads_says_nothing(train, tmp_path, capsys):
    outcome = train(tmp_path, "--max-epoch", "3", "--max-update", "200")
    assert outcome.status == 0
    assert "froze 6 of 24 heads" in outcome.log
    assert AT_START not in outcome.log and AT_END not in outcome.log
    heads_command.main([str(tmp_path / "checkpoint_last.pt")])
    assert "the freeze comes after" not in capsys.readouterr().out


def test_all_heads_are_no_choice_to_be_frozen(train, tmp_path):
    outcome = train(tmp_path, "--max-epoch", "1", "--num-of-heads", "24", "--max-update", "200")
    assert outcome.status == 0
    assert AT_START not in outcome.log and AT_END not in outcome.log


@pytest.mark.slow
def test_a_quiet_training_says_so_too(corpus, gated_flags, tmp_path):
    flags = gated_flags | {"--max-update": "4", "--cooldown-steps": "9"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fairseq_cli.train", str(corpus), "--user-dir", str(USER_DIR)),
            *("--cpu", "--share-all-embeddings", "--save-dir", str(tmp_path)),
            *(word for pair in flags.items() for word in pair),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "LOGLEVEL": "WARNING"},
    )
    assert done.returncode == 0
    assert (done.stdout + done.stderr).count(AT_END) == 1
