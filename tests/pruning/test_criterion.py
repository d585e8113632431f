"""The criterion: fairseq's loss of the gated model, the penalty, and what is logged."""

from __future__ import annotations

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics

from dsp_fairseq.models.transformer import DspLabelSmoothedCrossEntropyCriterion


@pytest.fixture
def sample(batch):
    target = batch["prev_output_tokens"].roll(-1, 1)
    return {"net_input": batch, "target": target, "ntokens": int(target.ne(1).sum())}


def _criterion(task, kind=DspLabelSmoothedCrossEntropyCriterion):
    return kind(task, sentence_avg=False, label_smoothing=0.1)


def test_the_loss_is_that_of_the_gated_model(build, task, sample):
    model = build(6)
    model.train()
    ours = _criterion(task)(model, sample)
    theirs = _criterion(task, LabelSmoothedCrossEntropyCriterion)(model, sample)
    assert ours[0].item() == theirs[0].item()
    assert ours[1] == theirs[1] == sample["ntokens"]


def test_a_penalty_is_added_per_token_in_training_only(build, task, sample, monkeypatch):
    model = build(6)
    monkeypatch.setattr(model.head_gates, "penalty", lambda: torch.tensor(0.5))
    stock = _criterion(task, LabelSmoothedCrossEntropyCriterion)
    for training, penalty in ((True, 0.5 * sample["ntokens"]), (False, 0.0)):
        model.train(training)
        loss = _criterion(task)(model, sample)[0] - stock(model, sample)[0]
        assert loss.item() == pytest.approx(penalty, abs=1e-3)


def test_logged_values_are_means_over_micro_batches(build, task, sample):
    model = build(6)
    model.train()
    logs = []
    for update in (0, 10):
        model.set_num_updates(update)
        logs.append(_criterion(task)(model, sample)[2])
    with metrics.aggregate() as values:
        DspLabelSmoothedCrossEntropyCriterion.reduce_metrics(logs)
    logged = values.get_smoothed_values()
    assert logged["temperature"] == pytest.approx((0.5 + 0.1) / 2)
    assert logged["gate_sum"] == pytest.approx(6, abs=1e-3)
    assert logged["heads_encoder_self"] == 6
    # Several processes hand in sums; the count goes along.
    total = {key: logs[0][key] + logs[1][key] for key in logs[0]}
    with metrics.aggregate() as values:
        DspLabelSmoothedCrossEntropyCriterion.reduce_metrics([total])
    assert values.get_smoothed_values()["temperature"] == pytest.approx(logged["temperature"])
