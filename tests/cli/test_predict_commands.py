"""``dsp-predict`` of trained and of exported classifiers."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from fairseq import checkpoint_utils

from dsp_fairseq.cli import export, predict
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.evaluation.predictions import read_tsv


@pytest.fixture
def trained(train_pairs, folder):
    path = folder / "run/checkpoint_last.pt"
    if not path.exists():
        assert train_pairs(path.parent).status == 0
    return path


def _predict(path, pairs, *flags, split="test"):
    predict.main([str(path), "--data", str(pairs), "--split", split, "--cpu", *map(str, flags)])


def test_accuracy_is_that_of_training(trained, pairs, capsys, tmp_path):
    state = checkpoint_utils.load_checkpoint_to_cpu(str(trained))
    _predict(trained, pairs, "--json", split="valid")
    said = json.loads(capsys.readouterr().out)
    # The metric of --best-checkpoint-metric.
    assert said["accuracy"] == pytest.approx(state["extra_state"]["val_loss"], abs=1e-4)
    low, high = said["interval"]
    assert 0 <= low <= said["accuracy"] <= high <= 100
    assert sum(counts["present"] for counts in said["classes"]) == said["number"]


def test_a_split_without_labels_is_only_classified(trained, pairs, capsys, tmp_path):
    data = shutil.copytree(pairs, tmp_path / "data")
    for path in data.glob("label/test.*"):
        path.unlink()
    _predict(trained, data, "--output", tmp_path / "new.tsv")
    assert "12 predictions; the test split has no labels" in capsys.readouterr().out
    assert read_tsv(tmp_path / "new.tsv").labels is None
    _predict(trained, data, "--json")
    assert json.loads(capsys.readouterr().out) == {"inputs": 12}


def test_batches_change_nothing_and_the_order_is_that_of_the_data(trained, pairs, tmp_path):
    for name, size in (("one", "4096"), ("many", "40")):
        _predict(trained, pairs, "--output", tmp_path / name, "--max-tokens", size)
    one, many = (read_tsv(tmp_path / name) for name in ("one", "many"))
    assert one.labels == many.labels
    # Of every input the label comes round in turn.
    assert one.labels == [one.classes[i % 3] for i in range(len(one.given))]
    for row, other in zip(one.probabilities, many.probabilities, strict=True):
        assert row == pytest.approx(other, abs=1e-5)


def test_an_export_predicts_the_same_and_is_compared(trained, pairs, tmp_path, capsys):
    pruned = tmp_path / "pruned.pt"
    export.main([str(trained), "--output", str(pruned)])
    first = tmp_path / "first.tsv"
    _predict(trained, pairs, "--output", first)
    capsys.readouterr()
    _predict(pruned, pairs, "--compare", first)
    out = capsys.readouterr().out
    assert re.search(r"^accuracy +\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] +\d+ of 12", out)
    assert "compared     0 right here alone, 0 there alone; p = 1 (McNemar, exact)" in out


def test_another_split_is_other_data_though_its_labels_are_the_same(trained, pairs, tmp_path):
    tables = {split: tmp_path / f"{split}.tsv" for split in ("valid", "test")}
    for split, path in tables.items():
        _predict(trained, pairs, "--output", path, split=split)
    valid, test = map(read_tsv, tables.values())
    assert valid.labels == test.labels and valid.inputs != test.inputs
    with pytest.raises(CommandExit, match="these are predictions of other data: input 0 differs"):
        _predict(trained, pairs, "--compare", tables["valid"], "--output", tmp_path / "new.tsv")
    assert read_tsv(tmp_path / "new.tsv") == test, "what was computed is not lost"


def test_what_cannot_be_predicted_is_refused_and_nothing_written(
    trained, train, pairs, corpus, folder, tmp_path
):
    taken, broken = tmp_path / "taken.tsv", tmp_path / "broken.tsv"
    taken.write_text("x")
    broken.write_text("x\ty\n")
    output = tmp_path / "new.tsv"
    for flags, said in (
        (("--output", taken), "exists"),
        (("--compare", broken, "--output", output), "holds no predictions"),
        (("--split", "dev", "--output", output), "no dev split"),
        (("--num-of-heads", "5", "--output", output), "is frozen at 3 heads"),
    ):
        with pytest.raises(CommandExit, match=said):
            _predict(trained, pairs, *flags)
    dense = tmp_path / "dense.pt"
    export.main([str(trained), "--format", "fairseq", "--output", str(dense)])
    with pytest.raises(CommandExit, match="no head importance: it is not of a gated model"):
        _predict(dense, pairs, "--num-of-heads", "3", "--output", output)
    translation = folder / "translation/checkpoint_last.pt"
    assert train(translation.parent, "--max-update", "1").status == 0
    with pytest.raises(CommandExit, match="is no classifier"):
        _predict(translation, corpus, "--output", output)
    assert not output.exists() and taken.read_text() == "x"
