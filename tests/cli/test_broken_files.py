"""Files that are cut off, hostile or of another model, and numbers that break, in real commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import zipfile

import pytest
import torch
from saved_models import PickledCode

from dsp_fairseq import USER_DIR
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.cli import heads as heads_command
from dsp_fairseq.cli import measure as measure_command
from dsp_fairseq.cli import prune as prune_command
from dsp_fairseq.cli import rank_heads as rank_heads_command


@pytest.fixture
def copy_of_run(train, folder, tmp_path):
    """A copy of a training of eight updates, that saved every third."""
    whole = folder / "whole"
    if not whole.exists():
        flags = ("--save-interval-updates", "3", "--max-update", "8", "--no-epoch-checkpoints")
        assert train(whole, *flags).status == 0
    run = tmp_path / "run"
    run.mkdir()
    for path in sorted(whole.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns):
        (run / path.name).write_bytes(path.read_bytes())
    return run


def _cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("share", [0.0, 0.6, 0.999])
def test_a_last_checkpoint_that_was_cut_off_is_mended_by_the_command_it_names(
    train, copy_of_run, share
):
    whole = torch.load(copy_of_run / "checkpoint_last.pt", weights_only=True)["model"]
    _cut(copy_of_run / "checkpoint_last.pt", share)
    _cut(copy_of_run / "checkpoint_best.pt", share)
    outcome = train(copy_of_run, "--max-update", "8")
    assert outcome.status == 1
    assert "\n" not in outcome.message
    assert "checkpoint_last.pt is not a checkpoint that can be loaded" in outcome.message
    assert "newest intact one is checkpoint_1_6.pt, of update 6" in outcome.message
    command = re.search(r"continue from it by (cp \S+ \S+) and the same command", outcome.message)[
        1
    ]
    subprocess.run(shlex.split(command), check=True)
    assert train(copy_of_run, "--max-update", "8").status == 0
    again = torch.load(copy_of_run / "checkpoint_last.pt", weights_only=True)["model"]
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_other_starts_that_are_cut_off(train, copy_of_run, tmp_path):
    _cut(copy_of_run / "checkpoint_1_6.pt")
    damaged = copy_of_run / "checkpoint_1_6.pt"
    outcome = train(tmp_path / "a", "--restore-file", damaged)
    assert f"--restore-file {copy_of_run}/checkpoint_" in outcome.message
    assert "of update 8" in outcome.message
    outcome = train(tmp_path / "b", "--finetune-from-model", damaged)
    assert outcome.message.endswith("give another --finetune-from-model")
    for path in copy_of_run.glob("*.pt"):
        _cut(path)
    outcome = train(copy_of_run)
    assert "holds no other intact checkpoint: remove it to start anew" in outcome.message


def test_generation_does_not_care_for_other_files_of_the_training(copy_of_run, generate):
    _cut(copy_of_run / "checkpoint_last.pt")
    assert generate(copy_of_run / "checkpoint_1_6.pt").status == 0


def test_looking_at_a_file_reads_no_tensor(copy_of_run, monkeypatch):
    from dsp_fairseq.checkpoints.checkpoint import peek

    path = copy_of_run / "checkpoint_last.pt"
    # What is in a tensor is seen by no one here: only that the file is whole.
    with zipfile.ZipFile(path) as archive:
        tensors = [info for info in archive.infolist() if "/data/" in info.filename]
        largest = max(tensors, key=lambda info: info.file_size)
        inside = largest.header_offset + 200
    content = bytearray(path.read_bytes())
    content[inside : inside + 64] = b"\xff" * 64
    path.write_bytes(content)
    assert peek(path).updates == 8


def test_other_heads_of_the_same_number_and_shape_are_refused(train, copy_of_run, tmp_path):
    flags = ("--encoder-attention-heads", "8", "--decoder-attention-heads", "2")
    outcome = train(copy_of_run, *flags, "--max-update", "12")
    assert outcome.status == 1
    assert "encoder.self 4+4" in outcome.message
    assert "encoder.self 8+8" in outcome.message
    start = ("--finetune-from-model", copy_of_run / "checkpoint_last.pt")
    assert "encoder.self 8+8" in train(tmp_path / "tuned", *start, *flags).message


# ---- hostile files


COMMANDS = ["generate", "interactive", "validate", "resume", "restore", "finetune", "kept-heads"]
COMMANDS += ["dsp-heads", "dsp-export", "dsp-rank-heads", "dsp-prune", "dsp-measure"]


@pytest.mark.parametrize("command", COMMANDS)
def test_pickled_code_runs_in_no_command(
    train, generate, run, corpus, copy_of_run, tmp_path, command
):
    path, ran = copy_of_run / "checkpoint_last.pt", tmp_path / "ran"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "extra_state": {"evil": PickledCode(ran)}}, path)
    output = tmp_path / "output.pt"
    data = ("--data", str(corpus), "--num-of-heads", "6", "--output", str(output))
    validation = ("--task", "translation", "--max-tokens", "1200")
    common = (corpus, "--user-dir", USER_DIR, "--path", path, "--cpu")
    calls = {
        "generate": lambda: generate(path),
        "interactive": lambda: run("interactive", *common, stdin="der Hund\n"),
        "validate": lambda: run("validate", *common, *validation),
        "resume": lambda: train(copy_of_run),
        "restore": lambda: train(tmp_path / "new", "--restore-file", path),
        "finetune": lambda: train(tmp_path / "new", "--finetune-from-model", path),
        "kept-heads": lambda: train(tmp_path / "new", "--kept-heads", path),
        "dsp-heads": lambda: heads_command.main([str(path)]),
        "dsp-export": lambda: export_command.main([str(path), "--output", str(output)]),
        "dsp-measure": lambda: measure_command.main([str(path), "--output", str(output)]),
        "dsp-prune": lambda: prune_command.main([str(path), *data, "--method", "random"]),
        "dsp-rank-heads": lambda: rank_heads_command.main([str(path), *data, "--method", "random"]),
    }
    try:
        outcome = calls[command]()
        message = outcome.message
        assert outcome.status != 0
    except (Exception, SystemExit) as stop:  # fairseq shows torch's own error
        message = str(stop)
    assert "mkdir" in message
    assert not ran.exists()
    assert not output.exists()
    assert not list((tmp_path / "new").glob("*.pt"))


# ---- numbers


def test_a_loss_that_breaks_ends_the_training_and_saves_nothing(train, copy_of_run):
    before = {path.name: path.read_bytes() for path in copy_of_run.iterdir()}
    outcome = train(
        copy_of_run, "--lr", "1e38", "--max-update", "20", "--save-interval-updates", "1"
    )
    assert outcome.status == 1
    assert "\n" not in outcome.message
    match = re.search(
        r"update (\d+) broke: .* not finite; batch of \d+ sentences, \d+ target tokens: ids "
        r"[\d, .]+; last good checkpoint: \S+/checkpoint_\S+\.pt of update (\d+)$",
        outcome.message,
    )
    assert match, outcome.message
    assert 8 <= int(match[2]) < int(match[1])
    after = {path.name: path.read_bytes() for path in copy_of_run.iterdir()}
    assert "crash.pt" not in after
    assert before["checkpoint_1_6.pt"] == after["checkpoint_1_6.pt"]
    for path in copy_of_run.glob("*.pt"):
        weights = torch.load(path, weights_only=True)["model"]
        assert all(bool(value.isfinite().all()) for value in weights.values()), path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--bf16",), "mean a TPU.*common.bf16=true"),
        (("--memory-efficient-bf16",), "mean a TPU.*common.bf16=true"),
        (("--fp16", "--fp16-no-flatten-grads"), "--fp16 needs a GPU"),
        (("--memory-efficient-fp16",), "--fp16 needs a GPU"),
        (("--amp",), "--amp needs a GPU"),
    ],
)
def test_precisions_that_a_cpu_does_not_have(train, tmp_path, flags, message):
    outcome = train(tmp_path / "run", *flags)
    assert outcome.status == 1
    assert re.search(message, outcome.message)
