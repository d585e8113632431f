"""The result of a run, from its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.experiments.run import Run
from dsp_fairseq.experiments.summary import (
    method_of,
    render,
    start_seconds,
    train_seconds,
    valid_loss,
)
from dsp_fairseq.pruning.flags import PruningConfig


@pytest.mark.parametrize(("metric", "expected"), [("loss", 4.5), ("bleu", None), (None, None)])
def test_validation_loss_is_that_which_chose_the_checkpoint(metric, expected):
    # What dsp-import-bert writes was chosen by nothing.
    chosen = {"checkpoint": {"best_checkpoint_metric": metric} if metric else {}}
    state = {"cfg": chosen, "extra_state": {"val_loss": 4.5}}
    assert valid_loss(Checkpoint(Path("best.pt"), state)) == expected


def test_training_time_is_without_that_of_the_start_wherever_that_is_by_now(recipe, tmp_path):
    run = Run(recipe(start=str(tmp_path / "dense.pt")), tmp_path / "run")
    run.folder.mkdir()

    def save(path, seconds):
        extra = {"previous_training_time": seconds}
        state = {"cfg": {"model": {"_name": "transformer"}}, "model": {"x": torch.zeros(1)}}
        torch.save({**state, "extra_state": extra}, path)

    save(tmp_path / "dense.pt", 40.0)
    save(run.folder / "checkpoint_last.pt", 52.0)
    assert train_seconds(run) == 12.0
    (run.folder / "run.yaml").write_text(f"start_seconds: {start_seconds(run)}\n")
    (tmp_path / "dense.pt").unlink()
    assert train_seconds(run) == 12.0


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
