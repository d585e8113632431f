"""kill -9 at drawn moments: what goes on ends as what was never killed; scripts/kill_test.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/kill_test.py"


@pytest.mark.slow
def test_a_few_kills(corpus, warm):
    # The server kills a command when its client is killed.
    done = subprocess.run(
        [
            *(warm.python, str(SCRIPT), "--kills", "3", "--other-kills", "1"),
            *("--data", str(corpus), "--seed", "3"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "survived 3 of 3 kills of training" in done.stdout


def test_a_resume_that_fairseq_cannot_make_exact_says_so(train, tmp_path):
    epoch = ("--max-tokens", "4000", "--max-epoch")
    assert train(tmp_path, *epoch, "1", "--max-update", "99").status == 0
    flags = (*epoch, "2", "--max-update", "99")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "checkpoint_last.pt").write_bytes((tmp_path / "checkpoint_last.pt").read_bytes())
    assert "regroups the batches" in train(tmp_path, *flags).log
    exact = train(copy, *flags, "--update-epoch-batch-itr", "True")
    assert "regroups the batches" not in exact.log
