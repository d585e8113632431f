"""An estimator that the package does not know: one class and one registration."""

from __future__ import annotations

from typing import ClassVar

import pytest
from saved_models import read_head_map
from torch import Tensor

from dsp_fairseq.__main__ import flags_help
from dsp_fairseq.estimators import ESTIMATORS, Estimator, Option


class ScaledSoftmax(Estimator):
    """Gates in proportion to a softmax of importance: they sum to K, and may exceed 1."""

    options = (Option("sharpness", 1.0, "what importance is multiplied by (default: 1)"),)
    seen: ClassVar[set[float]] = set()

    def __init__(self, sharpness: float, **_: object) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        self.seen.add(self.sharpness)
        return k * (importance.double() * self.sharpness / temperature).softmax(0)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "scaled-softmax", ScaledSoftmax)


def test_it_trains_with_its_option_and_freezes_at_k(train, tmp_path):
    outcome = train(tmp_path, "--gate-estimator", "scaled-softmax", "--sharpness", "2")
    assert outcome.status == 0, outcome.message
    assert ScaledSoftmax.seen == {2.0}
    kept = read_head_map(tmp_path / "checkpoint_last.pt")
    assert (kept.frozen, int(kept.mask.sum())) == (True, 6)


def test_its_option_has_help_and_checks(train, tmp_path):
    assert "scaled-softmax: what importance is multiplied by" in flags_help()
    for flags, message in (
        (
            ("--gate-estimator", "scaled-softmax", "--sharpness", "-1"),
            "--sharpness -1 must be 0 or more",
        ),
        (("--sharpness", "2"), "--sharpness belongs to --gate-estimator scaled-softmax"),
    ):
        assert message in train(tmp_path, *flags).message
