"""``python -m dsp_fairseq``: the user-dir, and the flags that fairseq-train's help leaves out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

from dsp_fairseq import USER_DIR
from dsp_fairseq.__main__ import main
from dsp_fairseq.pruning.flags import DISTILLATION_FLAGS, PruningConfig


def test_it_prints_the_user_dir(capsys):
    main([])
    assert capsys.readouterr().out == f"{USER_DIR}\n"


def test_every_flag_has_its_help(capsys):
    main(["--flags"])
    text = capsys.readouterr().out
    for field in fields(PruningConfig):
        if field.init and not field.name.startswith("_"):
            assert f"--{field.name.replace('_', '-')} " in text
    for name in ("pruning_lr", *DISTILLATION_FLAGS):
        assert f"--{name.replace('_', '-')} {name.upper()}" in text
    assert "sigmoid 1, simple 1" in " ".join(text.split())


def _without_fairseq(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a Python that has no fairseq."""
    hide = "import sys; sys.modules['fairseq'] = None; "
    return subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True)


def test_the_mathematics_needs_no_fairseq():
    done = _without_fairseq(
        "import torch; from dsp_fairseq.estimators import budgeted_sigmoid; "
        "print(round(float(budgeted_sigmoid(torch.randn(9), 4, 0.5).sum()), 5))"
    )
    assert done.stdout == "4.0\n", done.stderr


def test_a_command_says_that_fairseq_is_missing():
    done = _without_fairseq("import dsp_fairseq.cli.heads")
    assert done.returncode == 1
    assert "cannot import fairseq" in done.stderr and "scripts/setup.sh" in done.stderr
    assert len(done.stderr.splitlines()) == 1
