"""How classifiers are evaluated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_data import LABELS, write_pairs

from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.paired import Output
from dsp_fairseq.evaluation.predictions import Predictions, write_tsv
from dsp_fairseq.experiments.checks import check_evaluation
from dsp_fairseq.experiments.evaluation import EVALUATIONS

CLASSIFICATION = EVALUATIONS["dsp_sentence_prediction"]
TRAIN = {"task": "dsp_sentence_prediction", "num-classes": "3", "init-token": "0"}


def _answers(path: Path, right: str) -> Output:
    """Predictions of as many inputs as there are marks, right where the mark is 1."""
    labels = [LABELS[i % 3] for i in range(len(right))]
    given = [LABELS[(i + (mark == "0")) % 3] for i, mark in enumerate(right)]
    rows = [[float(name == answer) for name in LABELS] for answer in given]
    path.write_text(write_tsv(Predictions(LABELS, labels, given, rows)))
    return Output(path, "accuracy")


def test_the_command_is_dsp_predict(recipe):
    words = CLASSIFICATION.command(
        recipe(), Path("best.pt"), "valid", True, "6", Path("runs/valid.tsv")
    )
    assert " ".join(words) == (
        f"{Path(sys.executable).name} -m dsp_fairseq.cli.predict best.pt --data data/x "
        "--split valid --output runs/valid.tsv --num-of-heads 6 --cpu"
    )


def test_a_score_has_its_interval(tmp_path):
    _answers(tmp_path / "test.tsv", "1110")
    record = CLASSIFICATION.score(tmp_path, Path("data"), "test")["accuracy"]
    assert (record["score"], record["right"], record["number"]) == (75.0, 3, 4)
    # Wilson 1927, at z = 1.96.
    assert record["interval"] == pytest.approx((30.06, 95.44), abs=0.01)
    assert CLASSIFICATION.describe(record) == (
        " 75.00   [30.06, 95.44]   3 of 4, 95 % Wilson interval"
    )


def test_runs_are_compared_by_mcnemars_test(tmp_path):
    outputs = {
        "dense": _answers(tmp_path / "dense", "1" * 12),
        "same": _answers(tmp_path / "same", "1" * 12),
        "worse": _answers(tmp_path / "worse", "1" * 6 + "0" * 6),
        "other data": _answers(tmp_path / "other", "1" * 11),
        "gone": Output(tmp_path / "gone", ""),
    }
    tests = CLASSIFICATION.tests(outputs, None)
    found = tests.compare("dense", ["same", "worse", "other data", "gone"])
    assert found.keys() == {"same", "worse"}
    assert (found["same"].difference, found["same"].p_value) == (0.0, 1.0)
    # Six inputs that one alone has right: 2 / 2**6.
    assert (found["worse"].difference, found["worse"].p_value) == (-50.0, 2 / 64)
    assert tests.compare("gone", ["same"]) == {}
    assert tests.on_scores


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({}, None),
        ({"num-classes": "2"}, "has 3 labels"),
        ({"max-positions": "5"}, "longer than --max-positions 5"),
        ({"max-positions": "5", "shorten-method": "truncate"}, None),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_training(recipe, tmp_path, train, message):
    made = recipe(data=str(write_pairs(tmp_path / "data")), train={**TRAIN, **train})
    if message is None:
        check_evaluation(made)
    else:
        with pytest.raises(PruningError, match=message):
            check_evaluation(made)


def test_splits_need_inputs_and_labels(recipe, tmp_path):
    data = write_pairs(tmp_path / "data")
    made = recipe(data=str(data), train=TRAIN, evaluate=["test"])
    for path in (data / "label").glob("test.*"):
        path.unlink()
    with pytest.raises(PruningError, match=r"the test split of .* has no labels"):
        check_evaluation(made)
    for path in (data / "input0").glob("test.*"):
        path.unlink()
    with pytest.raises(PruningError, match="has no test split"):
        check_evaluation(made)
    (data / "label/dict.txt").unlink()
    with pytest.raises(PruningError, match=r"has no dictionary label/dict.txt"):
        check_evaluation(made)


def test_flags_of_translation_are_refused(recipe):
    with pytest.raises(PruningError, match="'generate' is for translation"):
        CLASSIFICATION.check_flags(recipe(generate={"beam": 5}))
