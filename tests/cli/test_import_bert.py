"""``dsp-import-bert``: what it prints, and that fairseq-train starts from what it writes."""

from __future__ import annotations

import pytest
import torch
from pretrained import WORDS, config_of, tensors_of, write_pretrained
from saved_models import read_head_map
from tiny_data import LABELS, write_pairs

from dsp_fairseq.cli import import_bert, rank_heads
from dsp_fairseq.errors import CommandExit

BERT = ("--layer-norm-eps", "1e-12", "--token-types", "2")


@pytest.fixture
def imported(tmp_path, capsys):
    """Imports a tiny BERT; returns the checkpoint, data with its vocabulary, and what was said."""

    def make(classes=0, **more):
        config = config_of("bert", **more)
        folder = write_pretrained(tmp_path / "hf", config, tensors_of(config, classes))
        output = tmp_path / "imported.pt"
        import_bert.main([str(folder), "--output", str(output)])
        words = output.with_suffix(".dict.txt").read_text().split(" 1\n")[:-1]
        labels = [f"LABEL_{number}" for number in range(classes)] or LABELS
        data = write_pairs(tmp_path / "data", words=words, labels=labels)
        return output, data, capsys.readouterr().out

    return make


def test_what_is_printed(imported):
    output, _, said = imported()
    assert said.splitlines() == [
        f"checkpoint   {output}: 8 heads (encoder.self 4+4), width 32",
        f"dictionary   {output.with_suffix('.dict.txt')}, for fairseq-preprocess --srcdict",
        "token types  kept: 0 in the first sentence of a pair, 1 in the second",
        "classes      none; a training adds one, from the model's pooler",
        *said.splitlines()[4:],
    ]
    assert f"--arch dsp_roberta_tiny {' '.join(BERT)} --max-positions 32" in said
    assert output.with_suffix(".dict.txt").read_text() == "".join(f"{w} 1\n" for w in WORDS)


def test_a_training_starts_from_it(imported, train_pairs, tmp_path):
    output, data, _ = imported()
    run = tmp_path / "run"
    outcome = train_pairs(run, "--finetune-from-model", output, *BERT, data=data)
    assert outcome.status == 0, outcome.message or outcome.log
    assert "no classification head 'sentence_classification_head': a new one" in outcome.log
    kept = read_head_map(run / "checkpoint_last.pt")
    assert kept.frozen and int(kept.mask.sum()) == 3
    outcome = train_pairs(tmp_path / "other", "--finetune-from-model", output, data=data)
    assert outcome.status == 1
    assert "--layer-norm-eps 1e-12, and this training has 1e-05" in outcome.message


@pytest.mark.parametrize("flag", ["--finetune-from-model", "--restore-file"])
def test_a_classifier_goes_on_training(imported, train_pairs, tmp_path, flag):
    output, data, said = imported(classes=3)
    assert f"LABEL_0, LABEL_1, LABEL_2 ({output.with_suffix('.labels.txt')}" in said
    flags = ("--num-of-heads", "8", "--max-update", "1", "--lr", "0", flag, output)
    outcome = train_pairs(tmp_path / "run", *flags, *BERT, data=data)
    assert outcome.status == 0, outcome.message or outcome.log
    before, after = (
        torch.load(path, weights_only=True)["model"]
        for path in (output, tmp_path / "run/checkpoint_last.pt")
    )
    assert before.keys() == after.keys()
    del before["head_gates.mask"]  # a training fills it in
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_a_model_that_cannot_train_pairs_yet(imported, train_pairs, tmp_path):
    output, data, _ = imported()
    outcome = train_pairs(tmp_path / "run", "--restore-file", output, *BERT, data=data)
    assert outcome.status == 1
    assert "has no classification head" in outcome.message
    flags = ["--data", str(data), "--method", "michel", "--num-of-heads", "3", "--cpu"]
    with pytest.raises(CommandExit) as stop:
        rank_heads.main([str(output), *flags, "--output", str(tmp_path / "ranked.pt")])
    assert "--num-classes" in str(stop.value)
