"""Numbers that are not finite end the training, once the scaler of 16 bits had its turn."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.errors import CommandExit, NotFiniteError
from dsp_fairseq.pruning.nonfinite import UpdateWatch

NAN, INF = torch.tensor(float("nan")), torch.tensor(float("inf"))


def _watch(*losses, **settings):
    watch = UpdateWatch()
    watch.begin(7)
    for number, loss in enumerate(losses):
        ids = torch.arange(30) + 100 * number
        watch.note({"id": ids, "ntokens": 55}, torch.tensor(loss))
    for name, value in settings.items():
        setattr(watch, name, value)
    return watch


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_loss_that_breaks_names_its_own_batch(loss, scaled):
    watch = _watch(1.0, loss, 2.0, scaled=scaled)
    with pytest.raises(NotFiniteError) as stop:
        watch.judge(the_gradient_of_weights=torch.tensor(1.0))
    message = str(stop.value)
    assert "update 7 broke: the loss is not finite" in message
    assert "batch of 30 sentences, 55 target tokens: ids 100, 101," in message
    assert message.endswith(", ...; nothing was saved before")
    assert "\n" not in message


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_gradient_that_breaks_names_all_batches(value):
    with pytest.raises(NotFiniteError, match="60 sentences, 110 target tokens"):
        _watch(1.0, 2.0).judge(the_gradient_of_weights=value)


def test_importance_that_breaks_is_nobodys_turn():
    for scaled in (False, True):
        with pytest.raises(NotFiniteError, match="importance is not finite"):
            _watch(1.0, scaled=scaled).judge(
                the_gradient_of_weights=torch.tensor(1.0), importance=NAN
            )


def test_what_is_finite_goes_on():
    watch = _watch(1.0)
    watch.judge(the_gradient_of_weights=torch.tensor(1.0), the_gradient_of_importance=None)
    watch.begin(8)
    with pytest.raises(NotFiniteError) as stop:  # batches of the update before are forgotten
        watch.judge(the_gradient_of_weights=NAN)
    assert "ids" not in str(stop.value)


def test_the_scaler_has_its_turn_until_it_gives_up():
    parameter = torch.nn.Parameter(torch.zeros(2))
    watch = _watch(1.0, scaled=True)
    watch.judge(the_gradient_of_weights=INF)
    # It skipped the update and cleared the gradients: a save at the end of an epoch is in order.
    watch.check_saving([("p", parameter)])
    # It gave up: fairseq saves crash.pt in the middle of the update.
    parameter.grad = torch.full((2,), float("inf"))
    with pytest.raises(NotFiniteError, match="update 7 broke: the gradient of weights"):
        watch.check_saving([("p", parameter)])
    # The same update again, with the next batch.
    watch.begin(7)
    watch.judge(the_gradient_of_weights=torch.tensor(1.0))
    watch.check_saving([("p", parameter)])


def test_nothing_broken_is_saved(build, batch):
    model = build(6).train()
    model(**batch)
    model.state_dict()
    with torch.no_grad():
        model.encoder.layers[0].fc1.weight[0, 0] = float("nan")
    with pytest.raises(CommandExit, match=r"encoder\.layers\.0\.fc1\.weight is not finite"):
        model.state_dict()
