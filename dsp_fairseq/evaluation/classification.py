"""Accuracy of a classifier, its interval, and whether two classifiers differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

from ..errors import PruningError
from .predictions import Predictions


@dataclass(frozen=True)
class ClassCounts:
    """How often a class was right, predicted and found.

    Attributes:
        name: the class.
        right: inputs of this class that were given it.
        predicted: inputs that were given it.
        present: inputs of this class.
    """

    name: str
    right: int
    predicted: int
    present: int

    @property
    def precision(self) -> float:
        """Share of the predictions that are right, in percent; 0 without any."""
        return 100 * self.right / max(self.predicted, 1)

    @property
    def recall(self) -> float:
        """Share of the inputs that were found, in percent; 0 without any."""
        return 100 * self.right / max(self.present, 1)


@dataclass(frozen=True)
class Accuracy:
    """Right answers among all, with the interval of their share.

    Attributes:
        right: how many are right.
        number: of how many.
        classes: the same by class.
    """

    right: int
    number: int
    classes: tuple[ClassCounts, ...]

    @property
    def percent(self) -> float:
        """The accuracy, 0 to 100."""
        return 100 * self.right / self.number

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval of the accuracy, in percent (Wilson 1927)."""
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        n, share = self.number, self.right / self.number
        middle = share + z * z / (2 * n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
        return 100 * max(low, 0.0), 100 * min(high, 1.0)


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same inputs.

    Attributes:
        only_first: inputs that the first alone has right.
        only_second: inputs that the second alone has right.
        p: of McNemar's exact test, two-sided: how likely such a difference is where both are
            equally good (McNemar 1947).
    """

    only_first: int
    only_second: int
    p: float


def accuracy(predictions: Predictions) -> Accuracy:
    """How often predictions are right.

    Raises:
        PruningError: the inputs have no labels.
    """
    labels, given = predictions.labels, predictions.given
    if labels is None:
        raise PruningError("these inputs have no labels: there is no accuracy")
    classes = []
    for name in predictions.classes:
        right = sum(name == label == answer for label, answer in zip(labels, given, strict=True))
        classes.append(ClassCounts(name, right, given.count(name), labels.count(name)))
    return Accuracy(sum(counts.right for counts in classes), len(labels), tuple(classes))


def compare(first: Predictions, second: Predictions) -> Comparison:
    """McNemar's exact test of two classifiers.

    Raises:
        PruningError: their inputs or labels are not the same.
    """
    if first.labels is None or second.labels is None:
        raise PruningError("inputs without labels cannot be compared")
    _refuse_other(first.labels, second.labels)
    if first.inputs and second.inputs and first.vocabulary == second.vocabulary:
        _refuse_other(first.inputs, second.inputs)
    rights = [
        [label == answer for label, answer in zip(one.labels or (), one.given, strict=True)]
        for one in (first, second)
    ]
    only_first, only_second = (
        sum(a and not b for a, b in zip(*pair, strict=True)) for pair in (rights, rights[::-1])
    )
    return Comparison(only_first, only_second, mcnemar(only_first, only_second))


def _refuse_other(first: Sequence[str], second: Sequence[str]) -> None:
    if first != second:
        pairs = zip(first, second, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        where = f"input {at} differs" if at is not None else "one has more inputs"
        raise PruningError(f"these are predictions of other data: {where}")


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of so many inputs that one alone has right: a sign test of both."""
    n = only_first + only_second
    term = tail = 1  # n over 0
    for i in range(min(only_first, only_second)):
        term = term * (n - i) // (i + 1)  # n over i + 1, from n over i
        tail += term
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))
