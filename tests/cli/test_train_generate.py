"""The main job through stock commands: train, freeze, resume, validate, generate, interact."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch
from saved_models import stored_weights

from dsp_fairseq import USER_DIR
from dsp_fairseq.cli import export as export_command


@pytest.fixture(scope="module")
def whole(folder):
    """Where the run of ten updates is kept, that several tests look at."""
    return folder / "whole"


def _trained(train, whole):
    if not (whole / "checkpoint_last.pt").exists():
        outcome = train(whole, "--save-interval-updates", "4", "--validate-interval-updates", "2")
        assert outcome.status == 0
        (whole / "log.txt").write_text(outcome.log)
    return (whole / "log.txt").read_text()


def test_training_freezes_and_logs(train, whole):
    log = _trained(train, whole)
    assert "keeping 6 of 24 heads" in log
    assert re.search(r"froze 6 of 24 heads at update 6 \(that set last changed at update \d", log)
    for name in ("temperature", "gate_sum", "gate_softness", "margin", "frozen"):
        assert re.search(rf"\b{name}[= ]\d", log), name
    kept = re.findall(
        r"heads_encoder_self (\d) \| heads_decoder_self (\d) \| heads_decoder_cross (\d)", log
    )
    assert kept
    assert all(sum(map(int, counts)) == 6 for counts in kept)
    state = stored_weights(whole / "checkpoint_last.pt")
    assert state["head_gates.frozen"] == 1
    assert state["head_gates.mask"].sum() == 6


def test_resuming_is_the_run_that_was_not_interrupted(train, whole, folder):
    _trained(train, whole)
    for updates in ("5", "10"):  # interrupted in the middle of the cooldown
        assert train(folder / "resumed", "--max-update", updates).status == 0
    whole_state = stored_weights(whole / "checkpoint_last.pt")
    resumed = stored_weights(folder / "resumed/checkpoint_last.pt")
    assert whole_state.keys() == resumed.keys()
    for name, value in whole_state.items():
        assert torch.equal(value, resumed[name]), name


def test_generation_is_deterministic_and_writes_nothing(train, generate, whole):
    _trained(train, whole)
    before = sorted(path.name for path in whole.iterdir())
    first = generate(whole / "checkpoint_best.pt")
    again = generate(whole / "checkpoint_best.pt")
    assert first.status == 0
    assert len(first.hypotheses) == 30
    assert first.hypotheses == again.hypotheses
    assert sorted(path.name for path in whole.iterdir()) == before


def test_a_checkpoint_before_the_freeze_uses_the_top_k(train, generate, whole):
    _trained(train, whole)
    outcome = generate(whole / "checkpoint_1_4.pt")
    assert outcome.status == 0
    assert "not frozen: evaluation uses the top 6 heads by importance" in outcome.log


def test_ensembles_alignment_and_unknown_words(train, generate, whole):
    _trained(train, whole)
    pair = f"{whole / 'checkpoint_best.pt'}:{whole / 'checkpoint_1_4.pt'}"
    assert len(generate(pair).hypotheses) == 30
    aligned = generate(whole / "checkpoint_best.pt", "--print-alignment", "hard")
    assert re.search(r"^A-0\t\d+-\d+", aligned.out, re.MULTILINE)


def test_validate_agrees_with_training(train, run, corpus, whole):
    log = _trained(train, whole)
    outcome = run(
        *("validate", corpus, "--user-dir", USER_DIR, "--path", whole / "checkpoint_last.pt"),
        *("--cpu", "--task", "translation", "--max-tokens", "1200"),
    )
    assert outcome.status == 0
    last = re.findall(r"valid on 'valid' subset \| loss (\S+)", log)[-1]
    assert f"| loss {last}" in outcome.log


def test_interactive(train, run, corpus, whole):
    _trained(train, whole)
    outcome = run(
        *("interactive", corpus, "--user-dir", USER_DIR, "--path", whole / "checkpoint_best.pt"),
        *("--cpu", "--beam", "2", "--remove-bpe"),
        stdin="der Hund\nein Haus\n",
    )
    assert outcome.status == 0
    assert len(outcome.hypotheses) == 2


def test_best_checkpoint_is_chosen_repeatably(train, folder):
    logs = [
        train(folder / f"best{i}", "--validate-interval-updates", "2", "--max-update", "8").log
        for i in range(2)
    ]
    losses = [re.findall(r"valid on 'valid' subset \| loss (\S+)", log) for log in logs]
    assert len(losses[0]) >= 4
    assert losses[0] == losses[1]
    assert re.search(r"\d+ updates, score", logs[0])
    scores = [re.findall(r"\d+ updates, score (\S+)\)", log) for log in logs]
    assert scores[0] == scores[1]


def test_eval_bleu_during_training_and_generation_from_it(train, generate, folder):
    outcome = train(
        *(folder / "bleu", "--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 20}'),
        *("--eval-bleu-remove-bpe", "--best-checkpoint-metric", "bleu"),
        *("--maximize-best-checkpoint-metric", "--max-update", "7", "--eval-tokenized-bleu"),
    )
    assert outcome.status == 0
    assert re.search(r"\| bleu \d", outcome.log)
    assert len(generate(folder / "bleu/checkpoint_best.pt").hypotheses) == 30


def test_a_run_that_ends_at_its_freeze(train, generate, folder):
    outcome = train(folder / "short", "--max-update", "6")
    assert "--freeze-heads-after 6 is not before --max-update 6" in outcome.log
    assert (
        "not frozen: evaluation uses the top 6" in generate(folder / "short/checkpoint_last.pt").log
    )


def test_different_head_counts_and_prenorm(train, generate, folder):
    outcome = train(
        *(folder / "unequal", "--encoder-attention-heads", "2", "--decoder-attention-heads", "8"),
        *("--encoder-normalize-before", "--decoder-normalize-before", "--max-update", "8"),
        *("--num-of-heads", "5", "--keep-at-least", "decoder.cross=1"),
    )
    assert outcome.status == 0
    assert "keeping 5 of 36 heads" in outcome.log
    assert len(generate(folder / "unequal/checkpoint_last.pt").hypotheses) == 30


@pytest.mark.parametrize("k", ["0", "24"])
def test_no_head_and_all_heads(train, generate, folder, corpus, k):
    outcome = train(
        *(folder / f"k{k}", "--num-of-heads", k, "--max-update", "3", "--log-format", "json"),
        *("--tensorboard-logdir", folder / f"tensorboard{k}"),
    )
    assert outcome.status == 0
    assert f'"gate_sum": "{k}"' in outcome.log
    events = b"".join(p.read_bytes() for p in folder.glob(f"tensorboard{k}/**/*tfevents*"))
    assert b"gate_sum" in events
    trained = generate(folder / f"k{k}/checkpoint_last.pt")
    assert len(trained.hypotheses) == 30
    for form in ("pruned", "fairseq", "ctranslate2"):
        exported = folder / f"k{k}-{form}.pt"
        arguments = ["--format", form, "--output", str(exported), "--data", str(corpus)]
        export_command.main([str(folder / f"k{k}/checkpoint_last.pt"), *arguments])
        if form != "ctranslate2":
            assert generate(exported).hypotheses == trained.hypotheses


def test_a_dense_checkpoint_enters_only_when_asked_for(train, folder):
    dense = folder / "dense/checkpoint_last.pt"
    assert train(dense.parent, "--max-update", "3", gated=False).status == 0
    refused = train(folder / "refused", "--restore-file", dense)
    assert refused.status == 1
    assert "the checkpoint is of a dense transformer" in refused.message
    tuned = train(folder / "tuned", "--finetune-from-model", dense, "--max-update", "8")
    assert tuned.status == 0
    assert "dense checkpoint: all its weights are taken, and importance is added" in tuned.log
    assert "froze 6 of 24 heads at update 6" in tuned.log


def test_hydra(corpus, folder, generate, train, warm):
    assert train(folder / "hydra-teacher", "--max-update", "1", gated=False).status == 0
    overrides = {
        "common.user_dir": USER_DIR,
        "common.cpu": "true",
        "task.data": os.path.relpath(corpus, folder),
        "model.num_of_heads": 5,
        "+model.encoder_layers": 1,
        "+model.decoder_layers": 1,
        "model.cooldown_steps": 2,
        "optimization.max_update": 4,
        "optimization.lr": "[0.001]",
        "dataset.max_tokens": 1200,
        "checkpoint.save_dir": "hydra",
        "+criterion.distill_from": "hydra-teacher/checkpoint_last.pt",
    }
    # In a process of its own, since hydra changes the logging.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fairseq_cli.hydra_train"),
            *("--config-dir", str(USER_DIR / "hydra"), "--config-name", "joint"),
            *(f"{key}={value}" for key, value in overrides.items()),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    log = done.stdout + done.stderr
    assert "keeping 5 of 12 heads" in log
    assert "froze 5 of 12 heads at update 2" in log
    assert re.search(r'"distill": "[\d.]+"|distill [\d.]+', log)
    trained = generate(folder / "hydra/checkpoint_last.pt")
    assert len(trained.hypotheses) == 30
    pruned = folder / "hydra-pruned.pt"
    export_command.main([str(folder / "hydra/checkpoint_last.pt"), "--output", str(pruned)])
    assert generate(pruned).hypotheses == trained.hypotheses
    stock = folder / "hydra-stock.pt"
    export_command.main(
        [str(folder / "hydra/checkpoint_last.pt"), "--format", "fairseq", "--output", str(stock)]
    )
    assert generate(stock).hypotheses == trained.hypotheses
