"""Accuracy, its interval, and McNemar's exact test."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from fractions import Fraction

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.classification import Accuracy, accuracy, compare, mcnemar
from dsp_fairseq.evaluation.predictions import Predictions

CLASSES = ("yes", "no")


def _predictions(labels: str | None, given: str) -> Predictions:
    def names(text: str) -> list[str]:
        return [CLASSES["yn".index(letter)] for letter in text]

    rows = [[0.9, 0.1] if answer == "y" else [0.2, 0.8] for answer in given]
    return Predictions(CLASSES, labels and names(labels), names(given), rows)


def test_accuracy_counts_right_answers_in_all_and_by_class():
    found = accuracy(_predictions("yyynn", "yynyn"))
    assert (found.right, found.number, found.percent) == (3, 5, 60.0)
    yes, no = found.classes
    assert (yes.right, yes.predicted, yes.present) == (2, 3, 3)
    assert yes.precision == yes.recall == pytest.approx(200 / 3)
    assert (no.precision, no.recall) == (50.0, 50.0)
    with pytest.raises(PruningError, match="no labels"):
        accuracy(_predictions(None, "yn"))


def test_a_class_that_is_never_given_or_never_there_divides_nothing_by_zero():
    found = accuracy(_predictions("yy", "yy"))
    assert (found.classes[1].precision, found.classes[1].recall) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_the_interval_is_wilsons(right, number, low, high):
    interval = Accuracy(right, number, ()).interval()
    assert interval == pytest.approx((low, high), abs=0.006)


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1.0), (3, 3, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375)]
)
def test_mcnemar_is_a_sign_test_of_what_one_alone_has_right(first, second, p):
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(p, abs=1e-12)


def test_the_p_is_exact():
    for n in range(24):
        for first in range(n + 1):
            tail = sum(math.comb(n, i) for i in range(min(first, n - first) + 1))
            assert mcnemar(first, n - first) == float(min(Fraction(1), Fraction(2 * tail, 2**n)))


def test_thousands_of_inputs_are_no_hindrance():
    assert 0 < mcnemar(5000, 5300) < 0.01
    # Two minutes, were each term made anew.
    before = time.process_time()
    assert 0 < mcnemar(9800, 10200) < 0.01
    assert time.process_time() - before < 2


def test_two_models_are_compared_input_by_input():
    comparison = compare(_predictions("yyynn", "yynyn"), _predictions("yyynn", "ynyyy"))
    assert (comparison.only_first, comparison.only_second) == (2, 1)
    assert comparison.p == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [("yyyny", "input 4 differs"), ("yyynnn", "one has more inputs"), (None, "without labels")],
)
def test_predictions_of_other_data_are_not_compared(labels, message):
    other = _predictions(labels, "y" * 6 if labels == "yyynnn" else "yynyn")
    with pytest.raises(PruningError, match=message):
        compare(_predictions("yyynn", "yynyn"), other)


def test_equal_labels_do_not_make_it_the_same_data():
    first, unknown = (
        replace(_predictions("yyn", "yyn"), vocabulary="v", inputs=["a", "b", "c"]),
        None,
    )
    other = replace(first, inputs=["a", "x", "c"])
    with pytest.raises(PruningError, match="predictions of other data: input 1 differs"):
        compare(first, other)
    # What earlier versions wrote says no more than its labels, nor do tokens of other models.
    for unknown in (replace(other, inputs=None), replace(other, vocabulary="w")):
        assert compare(first, unknown).p == 1.0
