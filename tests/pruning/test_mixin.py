"""The life of a model: what is trained, held and loaded."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from fairseq.modules import FairseqDropout

from dsp_fairseq.errors import CommandExit
from dsp_fairseq.estimators import ESTIMATORS
from dsp_fairseq.models.transformer import DspTransformerModel
from dsp_fairseq.pruning.hooks import Stage
from dsp_fairseq.pruning.mixin import _name_dropouts


def test_closed_heads_get_no_gradient_after_the_freeze(build, batch):
    model = build(6, freeze_heads_after=0)
    torch.nn.init.normal_(model.head_gates.importance)
    model.train()
    model(**batch)[0].pow(2).sum().backward()
    kept = model.head_gates.layout.kept(model.head_gates.mask)
    for site, attention in model._attentions.items():
        if not kept[site]:
            assert attention.q_proj.weight.grad is None
            continue
        grad = attention.v_proj.weight.grad.view(4, 4, -1).abs().sum((1, 2))
        assert sorted(torch.nonzero(grad).flatten().tolist()) == kept[site]


def test_training_in_sixteen_bits_on_a_cpu(build, batch, monkeypatch):
    """The estimator computes as in float32; its gates are cast once, where they scale heads."""
    model = build(6)
    expected = model.head_gates().detach()
    model.to(torch.bfloat16).train()
    seen = []
    scale_heads = model.scale_heads
    monkeypatch.setattr(model, "scale_heads", lambda g: (seen.append(g.detach()), scale_heads(g)))
    out = model(**batch)[0]
    out.float().pow(2).sum().backward()
    assert out.dtype == torch.bfloat16
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], expected)
    grad = model.head_gates.importance.grad
    assert grad.dtype == torch.float32
    assert grad.isfinite().all() and grad.abs().max() > 0
    assert model.encoder.layers[0].fc1.weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ESTIMATORS)
def test_activation_checkpointing_gives_the_same_gradients(build, batch, name):
    """It goes back to the gates once a layer; some estimators' graphs can be walked only once."""
    grads = []
    for flag in (False, True):
        torch.manual_seed(3)
        model = build(6, checkpoint_activations=flag, gate_estimator=name)
        model.train()
        model(**batch)[0].pow(2).sum().backward()
        grads.append({n: p.grad for n, p in model.named_parameters()})
    assert name == "random" or grads[1]["head_gates.importance"].abs().max() > 0
    for parameter, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][parameter], rtol=1e-4, atol=1e-5)


def test_layer_drop_leaves_the_layout_alone(build, batch):
    model = build(6, encoder_layerdrop=0.5, decoder_layerdrop=0.5)
    assert model.head_gates.layout.num_heads == 24
    model.train()
    for _ in range(5):
        model(**batch)[0].sum().backward()
    assert model.eval().head_gates.open_mask().sum() == 6


def test_pipelined_takes_weights_as_constants_until_the_freeze(build, batch):
    model = build(6, pruning_mode="pipelined", freeze_heads_after=2)
    model.load_state_dict(model.state_dict())
    weight = model.decoder.layers[0].fc1.weight
    for update in range(4):
        model.train()
        model.set_num_updates(update)
        model.zero_grad()
        model(**batch)[0].pow(2).sum().backward()
        assert (model.head_gates.importance.grad is not None) == (update < 2)
        assert (weight.grad is not None) == (update >= 2)
        assert weight.requires_grad
        assert model.head_gates.importance.optim_overrides.alone == (update < 2)


def test_pipelined_needs_a_model_to_start_from(build, batch):
    with pytest.raises(CommandExit, match="name its checkpoint with --finetune-from-model"):
        build(6, pruning_mode="pipelined").train()(**batch)


def test_checkpoints_from_before_several_budgets_load(build, batch):
    model = build(6, freeze_heads_after=0)
    model.train()(**batch)
    state = model.state_dict()
    del state["head_gates.budgets"], state["head_gates.format"]
    copy = build(6)
    copy.load_state_dict(state)
    assert torch.equal(copy.head_gates.budgets, model.head_gates.budgets)


def test_a_frozen_site_goes_on_training_whatever_the_floors_are_now(build, batch):
    model = build(4, keep_at_least="decoder.cross=2", freeze_heads_after=0)
    with torch.no_grad():
        cross = model.head_gates.layout.indices("decoder.cross")
        model.head_gates.importance[list(cross)] = -9.0
    model.train()(**batch)
    copy = build(4)
    copy.load_state_dict(model.state_dict())
    copy.train()(**batch)[0].pow(2).sum().backward()
    kept = copy.head_gates.layout.kept(copy.head_gates.mask)
    for site, attention in copy._attentions.items():
        assert attention.q_proj.weight.requires_grad == bool(kept[site]), site
        assert attention.out_proj.bias.requires_grad


@pytest.mark.parametrize("k", [24, "24,4"])
def test_all_weights_of_a_dense_model_are_trained(build, batch, k):
    model = build(k, freeze_heads_after=0)
    model.train()(**batch)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_dense_checkpoint_is_taken_only_when_asked_for(build, build_stock):
    dense = build_stock().state_dict()
    with pytest.raises(CommandExit, match="dense transformer"):
        build(6).load_state_dict(dict(dense))
    model = build(6, finetune_from_model="dense.pt")
    model._stage = Stage.CHECKED
    model.load_state_dict(dict(dense))
    assert model.head_gates.importance.abs().max() == 0


def test_a_checkpoint_of_another_shape_is_refused_by_name(build):
    other = build(6, encoder_attention_heads=2).state_dict()
    with pytest.raises(CommandExit, match="the checkpoint has 20 heads, this model 24 heads"):
        build(6).load_state_dict(other)
    damaged = build(6).state_dict()
    del damaged["head_gates.mask"]
    with pytest.raises(CommandExit, match=r"lacks head_gates\.mask"):
        build(6).load_state_dict(damaged)


def test_another_width_is_not_taken_for_other_heads(build, build_stock):
    model = build(6, finetune_from_model="dense.pt")
    model._stage = Stage.CHECKED
    wide = build_stock(encoder_embed_dim=32, decoder_embed_dim=32).state_dict()
    with pytest.raises(CommandExit, match=r"is of another model: .* is \[24, 32\] in it and"):
        model.load_state_dict(dict(wide))


@pytest.mark.parametrize("shared", ["share_all_embeddings", "share_decoder_input_output_embed"])
def test_embeddings_that_differ_in_a_file_are_not_made_one(build, build_stock, shared):
    model = build(6, finetune_from_model="dense.pt", **{shared: True})
    apart, one = (build_stock(**flags).state_dict() for flags in ({}, {shared: True}))
    model._stage = Stage.CHECKED
    with pytest.raises(CommandExit, match="differ in the checkpoint, and are one in this model"):
        model.load_state_dict(dict(apart))
    # On a GPU fairseq writes two equal ones.
    model.load_state_dict({name: value.clone() for name, value in one.items()})


def test_dropouts_have_the_names_of_fairseqs_modules(build):
    model = build(6).eval()
    names = [
        *("TransformerEncoder", "TransformerDecoder", "TransformerEncoderLayer"),
        *("TransformerDecoderLayer", "MultiheadAttention"),
    ]
    dropouts = [part for part in model.modules() if isinstance(part, FairseqDropout)]
    assert {part.module_name for part in dropouts} == {*names}
    for dropout in dropouts:
        dropout.make_generation_fast_("x", retain_dropout=True, retain_dropout_modules=names[:1])
    assert sum(part.apply_during_inference for part in dropouts) == 1


@pytest.mark.parametrize("flags", [{}, {"freeze_heads_after": 0}])
def test_a_model_can_be_pickled_and_copied(build, batch, flags):
    model = build(6, save_dir="run", **flags).eval()
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(again(**batch)[0], model(**batch)[0])
        assert sum(p.numel() for p in again.parameters()) > 0
        with pytest.raises(CommandExit, match="a copy of a model cannot be trained"):
            again.train()(**batch)


def test_a_module_of_somebody_else_has_dropout(build):
    class Adapter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = FairseqDropout(0.1, module_name="Adapter")

    model = build(6)
    model.adapter = Adapter()
    _name_dropouts(model)
    assert model.adapter.dropout.module_name == "Adapter"


def test_a_copy_of_a_model_leaves_its_task_alone(arguments, task, batch):
    class Task:
        source_dictionary, target_dictionary = task.source_dictionary, task.target_dictionary

        def __deepcopy__(self, memo):
            raise AssertionError("a task has data and state of its own")

    model = DspTransformerModel.build_model(arguments(6), Task()).eval()
    assert torch.equal(copy.deepcopy(model)(**batch)[0], model(**batch)[0])
