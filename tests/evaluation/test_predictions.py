"""The file of a classifier's predictions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fairseq.tasks.sentence_prediction import SentencePredictionConfig
from tiny_data import WORDS, write_pairs, write_split

from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.predictions import (
    Predictions,
    input_digests,
    read_tsv,
    same_classes,
    vocabulary_of,
    write_tsv,
)
from dsp_fairseq.tasks.sentence_prediction import DspSentencePredictionTask

PREDICTIONS = Predictions(("yes", "no"), ["yes", "no"], ["yes", "yes"], [[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize("labels", [["yes", "no"], None])
def test_what_is_written_is_read_again(tmp_path, labels):
    predictions = Predictions(("yes", "no"), labels, PREDICTIONS.given, PREDICTIONS.probabilities)
    path = tmp_path / "x.tsv"
    path.write_text(write_tsv(predictions))
    assert path.read_text().splitlines()[0] == "input\tlabel\tprediction\tyes\tno"
    assert read_tsv(path) == predictions


def test_digests_of_the_inputs_are_a_column_of_their_own(tmp_path):
    predictions = replace(PREDICTIONS, vocabulary="1f2e", inputs=["0123", "1e23"])
    text = write_tsv(predictions)
    assert [line.split("\t")[-1] for line in text.splitlines()] == [
        "sha256 (vocabulary 1f2e)",
        "0123",
        "1e23",
    ]
    path = tmp_path / "x.tsv"
    path.write_text(text)
    assert read_tsv(path) == predictions
    path.write_text(text.replace("\t1e23", ""))
    with pytest.raises(PruningError, match="line 3, is damaged"):
        read_tsv(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no predictions"),
        ("input\tlabel\tprediction\tyes\tno\n", "holds no predictions"),
        ("a\tb\n1\t2\n", "holds no predictions"),
        (write_tsv(PREDICTIONS).replace("0.25", "x"), "line 2, is damaged"),
        (write_tsv(PREDICTIONS).replace("0.25", "nan"), "line 2, is damaged"),
        (write_tsv(PREDICTIONS).replace("\n1\t", "\n2\t"), "line 3, is damaged"),
        (write_tsv(PREDICTIONS)[:-9], "line 3, is damaged"),
        (write_tsv(PREDICTIONS).replace("1\tno", "1\tperhaps"), "line 3, is damaged"),
        (write_tsv(PREDICTIONS).replace("1\tno", "1\t"), "labels for some of its inputs only"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, message):
    (tmp_path / "x.tsv").write_text(text)
    with pytest.raises(PruningError, match=message):
        read_tsv(tmp_path / "x.tsv")
    with pytest.raises(PruningError, match="cannot read"):
        read_tsv(tmp_path / "none.tsv")


def test_the_same_text_is_the_same_data_whatever_its_numbers(tmp_path):
    """Dictionaries may have another order, and what a model puts before the sentences differs."""
    found = []
    for name, words in (("one", WORDS), ("other", WORDS[::-1])):
        data = write_pairs(tmp_path / name, {"test": 3}, words=words)
        lines = [[words.index(word) + 4 for word in text] for text in ("ab", "c", "a")]
        for part in ("input0", "input1"):
            write_split(data / part / "test", lines)
        config = SentencePredictionConfig(data=str(data), num_classes=3, init_token=len(found))
        config.regression_target, config.seed = False, 1
        task = DspSentencePredictionTask.setup_task(config)
        found.append((vocabulary_of(task), input_digests(task, "test")))
    assert found[0] == found[1]
    assert len(set(found[0][1])) == 3


def _rows(*rows: tuple[float, float]) -> Predictions:
    return Predictions(("yes", "no"), None, [("yes", "no")[a < b] for a, b in rows], [*rows])


def test_equal_classes_are_counted_and_probabilities_compared():
    one, other = _rows((0.6, 0.4), (0.51, 0.49)), _rows((0.7, 0.3), (0.49, 0.51))
    assert str(same_classes(one, other)) == (
        "check        1 of 2 predictions are the same; probabilities differ by 1.0e-01 at most"
    )
    assert same_classes(one, one).difference == 0


def test_inputs_that_one_side_lacks_are_no_agreement():
    with pytest.raises(ValueError, match="zip"):
        same_classes(_rows((0.6, 0.4)), _rows())
