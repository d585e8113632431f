"""Each call of fairseq's stands for its moment, in the order of a training and of a generation."""

from __future__ import annotations

import pytest
import torch
from fairseq.models import BaseFairseqModel

from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.pruning.hooks import FairseqHooks


class _Model(BaseFairseqModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x)


class _Recorded(FairseqHooks, _Model):
    def __init__(self):
        super().__init__()
        self.moments = []

    def on_training_planned(self):
        self.moments.append("planned")

    def on_weights_read(self, weights):
        self.moments.append(f"read {len(weights)}")

    def on_weights_loaded(self):
        self.moments.append("loaded")

    def on_training_started(self, loaded):
        self.moments.append(f"started {loaded}")

    def on_update(self, number):
        self.moments.append(number)

    def on_evaluation(self):
        self.moments.append("evaluation")

    def on_saving(self):
        self.moments.append("saving")


X = torch.ones(1, 1)


def test_a_training_is_planned_once_and_started_at_its_first_forward_pass():
    model = _Recorded()
    for _ in range(2):
        list(model.parameters())
    model.set_num_updates(0)
    model(X)
    model(X)
    assert model.moments == ["planned", 1, "started False"]


def test_weights_are_seen_before_they_are_loaded_and_training_knows_of_them():
    model = _Recorded()
    list(model.parameters())
    model.load_state_dict(model.state_dict())
    model(X)
    assert model.moments == ["planned", "read 2", "loaded", "started True"]


def test_a_model_from_a_checkpoint_plans_no_training():
    model = _Recorded()
    model.load_state_dict(model.state_dict())
    list(model.parameters())
    model.make_generation_fast_()
    model(X)
    assert model.moments[:3] == ["read 2", "loaded", "evaluation"]
    assert not {"planned", "started True"} & set(model.moments)


def test_weights_that_are_asked_for_in_training_may_be_saved():
    model = _Recorded()
    model.state_dict()
    model(X)
    model.state_dict()
    assert model.moments == ["started False", "saving"]


@pytest.mark.parametrize(
    ("moment", "call"),
    [
        ("on_training_planned", lambda model: model.parameters()),
        ("on_weights_read", lambda model: model.upgrade_state_dict_named({}, "")),
        ("on_weights_loaded", lambda model: model.load_state_dict(_Model().state_dict())),
        ("on_training_started", lambda model: model(X)),
    ],
)
def test_an_error_of_a_moment_ends_the_command(monkeypatch, moment, call):
    def fail(*_):
        raise PruningError("give K")

    monkeypatch.setattr(_Recorded, moment, fail)
    with pytest.raises(CommandExit, match="give K"):
        call(_Recorded())
