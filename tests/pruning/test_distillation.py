"""Distillation: its loss, and whose weights it leaves alone."""

from __future__ import annotations

import gc
import weakref
from argparse import Namespace

import pytest
import torch
from fairseq.logging import metrics
from fairseq.models import build_model

from dsp_fairseq.errors import CommandExit
from dsp_fairseq.models.transformer import DspLabelSmoothedCrossEntropyCriterion
from dsp_fairseq.pruning.distillation import Distillation


class _Logits(torch.nn.Module):
    """A model of fixed logits ``[B, T, V]``."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self):
        return self.logits * 1.0, {}


def _divergence(distillation, model, left_out):
    with distillation.listening(model):
        model()
    return distillation.divergence(left_out)


def _by_hand(model, teacher, left_out, temperature):
    p, q = ((x.detach().double() / temperature).softmax(-1) for x in (teacher, model))
    return ((p * (p.log() - q.log())).sum(-1) * ~left_out).sum()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("at_once", [1, 1 << 16])
def test_the_loss_is_the_formula(monkeypatch, temperature, at_once):
    monkeypatch.setattr("dsp_fairseq.pruning.distillation._AT_ONCE", {"cpu": at_once})
    model, teacher = (_Logits(3 * torch.randn(3, 5, 11)) for _ in range(2))
    left_out = torch.zeros(3, 5, dtype=torch.bool)
    left_out[1, 3:] = left_out[2, 1:] = True
    distillation = Distillation(teacher, 0.25, temperature)
    divergence = _divergence(distillation, model, left_out)
    by_hand = _by_hand(model.logits, teacher.logits, left_out, temperature)
    assert divergence.item() == pytest.approx(by_hand.item(), rel=1e-5)

    mixed = distillation.mix(model.logits.pow(2).sum(), divergence)
    plain = model.logits.detach().pow(2).sum()
    assert mixed.item() == pytest.approx(
        0.75 * plain.item() + 0.25 * temperature**2 * by_hand.item(), rel=1e-5
    )
    mixed.backward()
    p, q = ((x.logits.detach() / temperature).softmax(-1) for x in (teacher, model))
    slope = 0.25 * temperature * (q - p) * ~left_out.unsqueeze(-1)
    torch.testing.assert_close(model.logits.grad, 1.5 * model.logits.detach() + slope)
    assert teacher.logits.grad is None


def test_a_model_has_nothing_to_learn_from_itself():
    model = _Logits(9 * torch.randn(2, 4, 50))
    twin = _Logits(model.logits.detach().clone())
    divergence = _divergence(Distillation(twin, 1.0, 1.0), model, torch.zeros(2, 4).bool())
    divergence.backward()
    assert divergence == 0
    assert model.logits.grad.abs().max() == 0


def test_outputs_of_chosen_tokens_all_count():
    model, teacher = _Logits(torch.randn(3, 11)), _Logits(torch.randn(3, 11))
    divergence = _divergence(Distillation(teacher, 1.0, 1.0), model, torch.ones(2, 4).bool())
    by_hand = _by_hand(model.logits, teacher.logits, torch.zeros(3).bool(), 1.0)
    assert divergence.item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_teacher_follows_the_precision_of_the_model(dtype):
    model = _Logits(torch.randn(2, 4, 30).to(dtype))
    distillation = Distillation(_Logits(torch.randn(2, 4, 30)), 1.0, 1.0)
    divergence = _divergence(distillation, model, torch.zeros(2, 4).bool())
    divergence.backward()
    assert distillation.teacher.logits.dtype == model.logits.grad.dtype == dtype
    by_hand = _by_hand(model.logits, distillation.teacher.logits, torch.zeros(2, 4).bool(), 1.0)
    assert divergence.item() == pytest.approx(by_hand.item(), rel=1e-4)


# ---- with a model and its criterion


@pytest.fixture
def teacher(build_stock, arguments, tmp_path):
    """A stock transformer's checkpoint."""
    path = tmp_path / "teacher.pt"
    config = {**vars(arguments()), "_name": "transformer"}
    torch.save({"cfg": {"model": config}, "model": build_stock().state_dict()}, path)
    return path


@pytest.fixture
def pupil(build, teacher):
    """A gated model that is about to be trained with that teacher."""

    def build_pupil(num_of_heads=6, **flags):
        torch.manual_seed(5)
        model = build(num_of_heads, **{"distill_from": str(teacher), **flags})
        list(model.parameters())  # as fairseq-train counts them before it trains
        return model.train()

    return build_pupil


@pytest.fixture
def sample(batch):
    target = batch["prev_output_tokens"].roll(-1, 1)
    return {"net_input": batch, "target": target, "ntokens": int(target.ne(1).sum())}


def _criterion(task):
    return DspLabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1)


def test_the_criterion_mixes_in_the_teacher_in_training_only(pupil, task, sample):
    model, criterion = pupil(distill_weight=0.25, distill_temperature=2.0), _criterion(task)
    loss, size, log = criterion(model, sample)
    wanted = 0.75 * log["loss"] + 0.25 * 4 * log["distill"]
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    with metrics.aggregate() as values:
        criterion.reduce_metrics([log, log])
    logged = values.get_smoothed_values()
    assert logged["distill"] == pytest.approx(float(log["distill"]) / size / 0.6931, abs=1e-2)
    model.eval()
    loss, _, log = criterion(model, sample)
    assert "distill" not in log
    assert loss.item() == log["loss"].item()


def test_nothing_is_left_of_a_batch_that_failed(pupil, task, sample, monkeypatch):
    """fairseq goes on after it ran out of memory, which the graph of that batch would take."""
    criterion = _criterion(task)

    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(type(criterion), "compute_loss", fail)
    kept, model = [], pupil()
    model.register_forward_hook(lambda _, __, out: kept.append(weakref.ref(out[0])))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        criterion(model, sample)
    gc.collect()
    assert kept and kept[0]() is None


def test_an_ignored_prefix_is_left_out_of_both(pupil, task, sample):
    model, criterion = pupil(), _criterion(task)
    whole = criterion(model, sample)[2]["distill"]
    criterion.ignore_prefix_size = sample["target"].size(1)
    assert criterion(model, sample)[2]["distill"] == 0 < whole


def test_a_weight_of_zero_is_training_without_a_teacher(build, pupil, task, sample):
    taught = pupil(distill_weight=0.0)
    torch.manual_seed(5)
    alone = build(6).train()
    losses = [_criterion(task)(model, sample)[0] for model in (taught, alone)]
    assert losses[0] == losses[1]
    for loss in losses:
        loss.backward()
    for (name, one), other in zip(taught.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other) and torch.equal(one.grad, other.grad), name


def test_the_teacher_is_nobodys_weights(pupil, build, task, sample):
    model, criterion = pupil(), _criterion(task)
    before = {k: v.clone() for k, v in model.distillation.teacher.state_dict().items()}
    criterion(model, sample)[0].backward()
    teacher = model.distillation.teacher
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert model.state_dict().keys() == build(6).state_dict().keys()
    assert not set(map(id, teacher.parameters())) & set(map(id, model.parameters()))
    assert not list(criterion.parameters())


@pytest.mark.parametrize("kind", ["dense", "unfrozen", "frozen"])
def test_gated_models_teach_with_the_heads_that_they_keep(checkpoint, pupil, batch, kind):
    model, path = checkpoint(24 if kind == "dense" else 6, frozen=kind == "frozen")
    state = torch.load(path, weights_only=True)
    # What it was trained with binds nobody, its own teacher least of all.
    vars(state["cfg"]["model"]).update(distill_from="gone.pt", optimizer="dsp_adam", fp16=True)
    torch.save(state, path)
    teacher = pupil(distill_from=str(path)).distillation.teacher
    assert torch.equal(teacher(**batch)[0], model(**batch)[0])


def test_exports_teach(exported, arguments, pupil):
    path = exported("encoder.self.0=0,1,3;decoder.cross.1=0,1,2")
    state = torch.load(path, weights_only=True)
    config = vars(state["cfg"]["model"])
    config.update({**vars(arguments()), **config})
    torch.save(state, path)
    teacher = pupil(distill_from=str(path)).distillation.teacher
    assert teacher.head_gates.open_mask().sum() == 6


@pytest.mark.parametrize("mode", ["joint", "pipelined"])
def test_importance_learns_from_the_teacher_too(pupil, task, sample, mode):
    model = pupil(distill_weight=1.0, pruning_mode=mode)
    model.load_state_dict(model.state_dict())
    _criterion(task)(model, sample)[0].backward()
    assert model.head_gates.importance.grad.abs().max() > 0
    assert (model.decoder.layers[0].fc1.weight.grad is None) == (mode == "pipelined")


def test_nothing_is_read_unless_a_training_starts(build, batch):
    model = build(6, distill_from="gone.pt")
    model.load_state_dict(model.state_dict())
    list(model.parameters())
    model.eval()(**batch)
    with pytest.raises(CommandExit, match=r"--distill-from: cannot read gone\.pt"):
        list(build(6, distill_from="gone.pt").parameters())


def test_the_task_goes_on_with_the_model_that_learns(arguments, task, teacher):
    class Task:
        """As fairseq's translation with --eval-bleu, whose generator is of the model built last."""

        source_dictionary, target_dictionary = task.source_dictionary, task.target_dictionary

        def build_model(self, args):
            self.generates = build_model(args, self)
            return self.generates

    learning = Task()
    model = learning.build_model(arguments(6, distill_from=str(teacher)))
    list(model.parameters())
    assert model.distillation is not None
    assert learning.generates is model


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"distill_weight": 1.5}, "--distill-weight 1.5 must be from 0 to 1"),
        ({"distill_weight": float("nan")}, "--distill-weight nan must be from 0 to 1"),
        ({"distill_temperature": 0.0}, "--distill-temperature 0 must be a positive number"),
        ({"distill_from": None, "distill_weight": 0.3}, "belongs to --distill-from"),
    ],
)
def test_flags_that_cannot_be_used(pupil, flags, message):
    with pytest.raises(CommandExit, match=message):
        pupil(**flags)


def test_a_teacher_of_another_shape_of_data_is_refused(pupil, teacher, task, build):
    state = torch.load(teacher, weights_only=True)
    for name in ("encoder.embed_tokens.weight",):
        state["model"][name] = state["model"][name][:-1].clone()
    torch.save(state, teacher)
    with pytest.raises(CommandExit, match="do not fit the dictionaries of this training") as error:
        pupil()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("has", ["cfg", "args"])
def test_other_languages_and_symbols_are_refused(pupil, teacher, task, tmp_path, monkeypatch, has):
    """fairseq's older tasks have arguments in place of a configuration."""
    for name, symbols in (
        ("ours", "a 1\nb 1\n"),
        ("theirs", "a 9\nc 1\n"),
        ("alike", "a 9\nb 9\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dict.de.txt").write_text(symbols)
    state = torch.load(teacher, weights_only=True)
    config = {"_name": "translation", "source_lang": "de", "target_lang": "en"}
    ours = {**config, "data": str(tmp_path / "ours")}
    kinds = {"cfg": (ours, None), "args": (None, Namespace(**ours))}
    for name, value in zip(("cfg", "args"), kinds[has], strict=True):
        monkeypatch.setattr(task, name, value, raising=False)

    def teach(**config):
        torch.save({**state, "cfg": {**state["cfg"], "task": config}}, teacher)
        return pupil()

    teach(**{**config, "data": str(tmp_path / "alike")})
    teach(**{**config, "data": str(tmp_path / "gone")})
    teach()
    with pytest.raises(CommandExit, match="has other symbols or another order of them"):
        teach(**{**config, "data": str(tmp_path / "theirs")})
    with pytest.raises(CommandExit, match="has --source-lang en, and this training de"):
        teach(**{**config, "source_lang": "en", "target_lang": "de"})
