"""A training with a teacher through the stock commands, and the tools once the teacher is gone."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from saved_models import stored_weights

from dsp_fairseq import USER_DIR
from dsp_fairseq.cli import average as average_command
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.cli import heads as heads_command


@pytest.fixture
def taught(train, folder, dense):
    """A run with a teacher that is gone by now, and its log."""
    run = folder / "taught"
    if not run.exists():
        teacher = folder / "teacher.pt"
        shutil.copy(dense, teacher)
        flags = ("--distill-from", teacher, "--distill-temperature", "2", "--eval-bleu")
        flags += ("--eval-bleu-args", '{"beam": 1, "max_len_b": 5}')
        outcome = train(run, *flags, "--validate-interval-updates", "5")
        assert outcome.status == 0, outcome.message
        (run / "log.txt").write_text(outcome.log)
        for updates in ("4", "10"):
            assert train(folder / "resumed", *flags, "--max-update", updates).status == 0
        teacher.unlink()
        refused = train(run, *flags, "--max-update", "12")
        assert f"error: --distill-from: cannot read {teacher}: No such file" in refused.message
    return run


def test_the_teacher_is_logged_in_training_only(taught, dense, train, folder):
    log = (taught / "log.txt").read_text()
    assert "teacher.pt (transformer), weight 0.5, temperature 2" in log
    assert len(re.findall(r"\bdistill=[\d.]+", log)) == 10
    assert not re.search(r"valid on .*distill", log)
    alone = train(folder / "alone", "--validate-interval-updates", "5")
    assert "distill=" not in alone.log
    first = [re.search(r" 1 / \d+ loss=([\d.]+)", text)[1] for text in (log, alone.log)]
    assert first[0] == first[1], "the loss that is logged is that of the criterion"
    one, other = (stored_weights(run / "checkpoint_last.pt") for run in (taught, folder / "alone"))
    assert one.keys() == other.keys()
    assert not torch.equal(one["decoder.layers.0.fc1.weight"], other["decoder.layers.0.fc1.weight"])


def test_resuming_with_a_teacher_is_the_same_run(taught, folder):
    whole, resumed = (
        stored_weights(run / "checkpoint_last.pt") for run in (taught, folder / "resumed")
    )
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_every_tool_works_once_the_teacher_is_gone(taught, run, corpus, generate, folder, capsys):
    last = taught / "checkpoint_last.pt"
    trained = generate(last)
    assert len(trained.hypotheses) == 30
    flags = ("--cpu", "--task", "translation", "--max-tokens", "1200")
    validated = run("validate", corpus, "--user-dir", USER_DIR, "--path", last, *flags)
    assert validated.status == 0
    valid = re.findall(r"valid on 'valid' subset \| loss (\S+)", (taught / "log.txt").read_text())
    assert f"| loss {valid[-1]}" in validated.log
    heads_command.main([str(last)])
    assert "6 of 24" in capsys.readouterr().out
    mean = folder / "mean.pt"
    average_command.main([str(last), "--output", str(mean)])
    assert generate(mean).hypotheses == trained.hypotheses
    for form in ("pruned", "fairseq"):
        exported = folder / f"{form}.pt"
        export_command.main([str(last), "--format", form, "--output", str(exported)])
        assert generate(exported).hypotheses == trained.hypotheses
    stock = torch.load(folder / "fairseq.pt", weights_only=True)["cfg"]
    assert not [name for name in {**stock["criterion"], **stock["model"]} if "distill" in name]
    assert run("validate", corpus, "--path", folder / "fairseq.pt", *flags).status == 0


def test_an_export_is_trained_further_and_importance_alone(taught, dense, train, folder):
    exported = folder / "further.pt"
    export_command.main([str(taught / "checkpoint_last.pt"), "--output", str(exported)])
    teacher = ("--distill-from", dense)
    further = train(
        *(folder / "further", "--kept-heads", exported, "--finetune-from-model", exported),
        *("--max-update", "2", "--num-of-heads", "6", *teacher),
    )
    assert further.status == 0, further.message
    pipelined = train(
        *(folder / "pipelined", "--pruning-mode", "pipelined", "--finetune-updates", "2"),
        *("--cooldown-steps", "2", "--max-update", "4", "--finetune-from-model", dense, *teacher),
    )
    assert pipelined.status == 0, pipelined.message
    for outcome in (further, pipelined):
        assert re.search(r"\bdistill=[\d.]+", outcome.log)
