"""The result of a run, from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.experiments.summary import method_of, render, valid_loss
from dsp_fairseq.pruning.flags import PruningConfig


@pytest.mark.parametrize(("metric", "expected"), [("loss", 4.5), ("bleu", None), (None, None)])
def test_validation_loss_is_that_which_chose_the_checkpoint(metric, expected):
    # What dsp-import-bert writes was chosen by nothing.
    chosen = {"checkpoint": {"best_checkpoint_metric": metric} if metric else {}}
    state = {"cfg": chosen, "extra_state": {"val_loss": 4.5}}
    assert valid_loss(Checkpoint(Path("best.pt"), state)) == expected


def test_the_method_is_the_estimator_or_the_score(recipe):
    made = recipe()
    assert method_of(made) == PruningConfig().gate_estimator
    assert method_of(made.with_train({"gate-estimator": "ste"})) == "ste"
    assert method_of(recipe(rank={"method": "michel"})) == "michel"


def test_a_checkpoint_that_is_not_frozen_is_called_so():
    result = {"budget": 6, "num_heads": 24, "parameters": 1, "parameters_dense": 2, "scores": {}}
    result |= {"train_seconds": 1.0, "tokens_per_second": 1.0}
    assert render(result | {"frozen": False}).startswith(
        "6 of 24 heads, not frozen in the best checkpoint, 1 of 2 parameters"
    )
    for frozen in ({"frozen": True}, {}):
        assert render(result | frozen).startswith("6 of 24 heads, 1 of 2 parameters")
