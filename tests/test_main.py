"""``python -m dsp_fairseq``: the user-dir, and the flags that fairseq-train's help leaves out."""

from __future__ import annotations

from dataclasses import fields

from dsp_fairseq import USER_DIR
from dsp_fairseq.__main__ import main
from dsp_fairseq.pruning.flags import PruningConfig


def test_it_prints_the_user_dir(capsys):
    main([])
    assert capsys.readouterr().out == f"{USER_DIR}\n"


def test_every_flag_has_its_help(capsys):
    main(["--flags"])
    text = capsys.readouterr().out
    for field in fields(PruningConfig):
        if field.init and not field.name.startswith("_"):
            assert f"--{field.name.replace('_', '-')} " in text
    assert "--pruning-lr PRUNING_LR" in text
    assert "sigmoid 1, simple 1" in " ".join(text.split())
