"""Paired tests of two models on one test set, whatever they are evaluated by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Output:
    """The file with what a model gave for a test set, and the signature of its score."""

    path: Path
    signature: str


@dataclass(frozen=True)
class Paired:
    """A paired test: the score of a model less that of a baseline.

    ``p_value`` is the chance of a difference as large if the two were equally good; ``signature``
    names the test with its settings.
    """

    difference: float
    p_value: float
    signature: str

    @property
    def significant(self) -> bool:
        """Whether p is below :data:`SIGNIFICANT`."""
        return self.p_value < SIGNIFICANT


class PairedTests(Protocol):
    """Outputs of models on one test set, by name; those that cannot be read are left out."""

    method: str
    """The test, and what it is done on."""

    on_scores: bool
    """Whether it is done on what the models' scores are made of."""

    def compare(self, baseline: str, models: Sequence[str]) -> Mapping[str, Paired]:
        """Tests models against a baseline.

        Returns:
            by name, for those with a whole output of the baseline's test set.
        """
