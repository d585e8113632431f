"""Mistakes on the command line: one clear line, a status that is not 0, nothing overwritten."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dsp_fairseq import USER_DIR


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num-of-heads", "99"), "--num-of-heads 99 is not a whole number from 0 to 24"),
        (("--num-of-heads", "-1"), "--num-of-heads -1 is not"),
        (("--num-of-heads", "many"), "--num-of-heads 'many' is not"),
        (("--initial-temperature", "0"), "--initial-temperature 0 must be a positive number"),
        (("--final-temperature", "3"), "the temperature may only fall"),
        (("--keep-at-least", "cross=1"), "--keep-at-least 'cross=1': write KIND=COUNT"),
        (("--optimizer", "adam"), "use --optimizer dsp_adam"),
        (("--pruning-lr", "-1"), "--pruning-lr and --pruning-clip-norm must not be negative"),
        (("--quant-noise-pq", "0.1"), "--quant-noise-pq is not supported by dsp_transformer"),
        (("--kept-heads", "/nowhere.pt"), "cannot read /nowhere.pt"),
    ],
)
def test_wrong_flags(train, tmp_path, flags, message):
    outcome = train(tmp_path / "run", *flags)
    assert outcome.status == 1
    assert outcome.message.startswith("dsp_fairseq: error: ")
    assert message in outcome.message
    assert "\n" not in outcome.message
    assert not list(tmp_path.glob("run/*.pt"))


def test_a_flag_that_is_unknown_or_no_number_is_argparse_usage(train, tmp_path):
    assert train(tmp_path, "--cooldown-steps", "soon").status == 2
    assert train(tmp_path, "--gate-estimator", "magic").status == 2


def test_resuming_with_another_shape_or_budget_leaves_the_checkpoint_alone(train, tmp_path):
    assert train(tmp_path, "--max-update", "8").status == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}
    outcome = train(tmp_path, "--num-of-heads", "7", "--max-update", "12")
    assert outcome.status == 1
    assert "frozen at 6 heads, but --num-of-heads is 7" in outcome.message
    outcome = train(tmp_path, "--encoder-layers", "1", "--max-update", "12")
    assert outcome.status == 1
    assert "the checkpoint has 24 heads, this model 20 heads" in outcome.message
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")} == before


@pytest.mark.slow
def test_what_a_person_sees(train, corpus, tmp_path):
    """In processes of their own: the exit status, one line, and what a missing user-dir gives."""
    command = [
        *(sys.executable, "-m", "fairseq_cli.train", str(corpus), "--user-dir", str(USER_DIR)),
        *("--arch", "dsp_transformer_tiny", "--optimizer", "dsp_adam", "--cpu"),
        *("--max-tokens", "500", "--num-of-heads", "50", "--save-dir", str(tmp_path / "run")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1
    assert errors[0].startswith("dsp_fairseq: error: --num-of-heads 50 is not a whole number")
    assert "Traceback" not in done.stderr

    assert train(tmp_path / "run", "--max-update", "1").status == 0
    command = [
        *(sys.executable, "-m", "fairseq_cli.generate", str(corpus), "--cpu"),
        *("--path", str(tmp_path / "run/checkpoint_last.pt")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "argparse.Namespace" in done.stderr  # as the README says
