"""Long work says how far it is, in a log too."""

from __future__ import annotations

import sys

import pytest

from dsp_fairseq import progress as module
from dsp_fairseq.cli.parser import command
from dsp_fairseq.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves on; the last line of the log is of its second 0."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module._Log, "said", 0.0)
    return now


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    done = []
    for item in progress("abcdefgh", 8, "scoring", "batches"):
        done.append(item)
        clock[0] += 9.0
    assert "".join(done) == "abcdefgh"
    assert capsys.readouterr().err.splitlines() == [
        "scoring: 3 of 8 batches done",
        "scoring: 6 of 8 batches done",
    ]


def test_many_short_tasks_share_the_clock(clock, capsys):
    for number in range(5):
        for _ in progress([0], 1, f"task {number}", "steps"):
            clock[0] += 9.0
    assert capsys.readouterr().err.splitlines() == ["task 3: 0 of 1 steps done"]


def test_short_work_late_in_a_process_says_nothing(clock, capsys):
    """Every command starts the clock."""
    clock[0] = 100.0
    command(lambda argv: None)([])
    assert list(progress("ab", 2, "averaging", "checkpoints")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_short_work_says_nothing(clock, capsys):
    assert list(progress(iter("ab"), 2, "scoring", "batches")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress(iter("ab"), 2, "scoring", "batches")) == ["a", "b"]
    err = capsys.readouterr().err
    assert "scoring" in err and "/2" in err and "done" not in err
