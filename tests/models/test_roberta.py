"""The gated encoder: the dense model where it must be, exact where it prunes, strict on loading."""

from __future__ import annotations

import logging
import platform
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_NAME_REGISTRY
from fairseq.models.roberta import RobertaModel

from dsp_fairseq.checkpoints.formats import POOLER
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.models.roberta import ROBERTA, DspRobertaModel

HEAD = "sentence_classification_head"


@pytest.fixture
def reading(task):
    return SimpleNamespace(source_dictionary=task.source_dictionary, max_positions=lambda: 16)


@pytest.fixture
def build(reading):
    """A model of 2 layers of 4 heads, with a classification head."""

    def build_model(num_of_heads: Any = 8, kind=DspRobertaModel, classes=3, **flags):
        args = Namespace(arch="dsp_roberta_tiny", num_of_heads=num_of_heads, dropout=0.0)
        vars(args).update({"attention_dropout": 0.0, "cooldown_steps": 10, **flags})
        ARCH_CONFIG_REGISTRY["dsp_roberta_tiny"](args)
        model = kind.build_model(args, reading)
        if classes:
            model.register_classification_head(HEAD, num_classes=classes)
        return model

    return build_model


@pytest.fixture
def tokens():
    """Three pairs, padded at the right."""
    drawn = torch.randint(4, 24, (3, 9))
    drawn[:, 0], drawn[:, 4], drawn[:, 8] = 0, 2, 2
    drawn[1, 6:] = torch.tensor([2, 1, 1])
    return drawn


def _weights(model):
    return {k: v for k, v in model.state_dict().items() if not k.startswith("head_gates.")}


def _logits(model, tokens):
    return model(tokens, features_only=True, classification_head_name=HEAD)[0]


@pytest.mark.parametrize(
    ("arch", "layers", "heads", "eps"),
    [
        ("dsp_roberta", 12, 144, 1e-5),
        ("dsp_roberta_base", 12, 144, 1e-5),
        ("dsp_roberta_large", 24, 384, 1e-5),
        ("dsp_roberta_minilm_l6", 6, 72, 1e-12),
        ("dsp_roberta_tiny", 2, 8, 1e-5),
    ],
)
def test_architectures(arch, layers, heads, eps):
    args = Namespace(arch=arch)
    ARCH_CONFIG_REGISTRY[arch](args)
    assert ARCH_MODEL_NAME_REGISTRY[arch] == "dsp_roberta"
    layout = ROBERTA.layout(args)
    assert (len(layout.sites), layout.num_heads, args.layer_norm_eps) == (layers, heads, eps)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"encoder_normalize_before": True}], ids=["post", "pre"])
def test_all_heads_is_the_dense_model(build, tokens, options, training):
    model, stock = build(**options), build(kind=RobertaModel, **options)
    assert not stock.load_state_dict(_weights(model)).missing_keys
    outputs, grads = [], []
    for m in (model, stock):
        m.train(training)
        out = _logits(m, tokens)
        out.pow(2).sum().backward()
        outputs.append(out.detach())
        grads.append({n: p.grad for n, p in m.named_parameters() if p.grad is not None})
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-6, atol=1e-6)
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [0, 1, 5, 8])
def test_evaluation_is_multiplying_closed_heads_by_zero(build, tokens, k):
    model = build(k)
    with torch.no_grad():
        model.head_gates.importance.copy_(torch.randn(8))
    model.eval()
    mask = model.head_gates.open_mask()
    assert mask.sum() == k
    stock, weights = build(kind=RobertaModel).eval(), _weights(model)
    for site, part in model.head_gates.layout.split(mask).items():
        weights[f"{site.module_name}.out_proj.weight"] *= part.repeat_interleave(8)
    stock.load_state_dict(weights)
    torch.testing.assert_close(_logits(model, tokens), _logits(stock, tokens), rtol=1e-5, atol=1e-6)


def test_training_draws_gates_that_reach_importance_until_the_freeze(build, tokens):
    model = build(3).train()
    model.set_num_updates(3)
    _logits(model, tokens).pow(2).sum().backward()
    assert model.head_gates.importance.grad.abs().max() > 0
    assert model.head_gates.statistics()["gate_sum"].item() == pytest.approx(3, abs=1e-4)
    model.set_num_updates(100)
    _logits(model, tokens)
    assert model.head_gates.is_frozen


def test_closed_heads_are_not_computed(build, tokens, monkeypatch):
    model = build(3).eval()
    rows = []
    linear = torch.nn.functional.linear

    def counting(x, weight, bias=None):
        rows.append(weight.size(0))
        return linear(x, weight, bias)

    monkeypatch.setattr("dsp_fairseq.modules.attention.F.linear", counting)
    with torch.no_grad():
        _logits(model, tokens)
    attention = [r for r in rows if r not in (64, 3)]  # not those of the feed-forward, or classes
    of_heads = sum(attention) - 32 * attention.count(32)
    assert of_heads == 3 * 3 * 8, "q, k and v of three heads, and nothing else"


def test_the_eps_of_all_layer_norms(build):
    model = build(layer_norm_eps=1e-12)
    norms = [m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 6 and set(norms) == {1e-12}


def test_token_types_tell_the_sentences_of_a_pair_apart(build, tokens):
    model = build(token_types=2).eval()
    encoder, plain = model.encoder.sentence_encoder, build().eval()
    weights = model.state_dict()
    types = weights.pop("encoder.sentence_encoder.embed_types.weight")
    plain.load_state_dict(weights)
    got = encoder.forward_embedding(tokens)[0]
    second = torch.zeros(3, 9, dtype=torch.long)
    second[:, 5:] = 1
    dense = plain.encoder.sentence_encoder
    expected = dense.forward_embedding(tokens, dense.embed_tokens(tokens) + types[second])[0]
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got, dense.forward_embedding(tokens)[0])


def test_bfloat16_is_for_training_only(build, tokens):
    model, plain = build(3, autocast_bf16=True), build(3)
    plain.load_state_dict(model.state_dict())
    outputs = {}
    for training in (True, False):
        for m in (model, plain):
            m.train(training).set_num_updates(0)
            outputs[training, m] = _logits(m, tokens)
            assert outputs[training, m].dtype == torch.float32
    assert torch.equal(outputs[False, model], outputs[False, plain])
    difference = (outputs[True, model] - outputs[True, plain]).abs().max()
    assert 0 < difference < 0.02
    outputs[True, model].sum().backward()
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("able", [True, False])
def test_a_cpu_that_is_slow_in_bfloat16_is_told(build, caplog, monkeypatch, machine, able):
    """oneDNN says that AVX-512 without such instructions is able too."""
    theirs = able or machine == "x86_64"
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: theirs)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for half in (True, False):
        caplog.clear()
        list(build(3, autocast_bf16=half, cpu=True).parameters())
        assert ("two to ten times slower" in caplog.text) == (half and not able)


# ---- loading


def _refusal(call) -> str:
    with pytest.raises((CommandExit, PruningError)) as stop:
        call()
    assert "\n" not in str(stop.value)
    return str(stop.value)


def test_a_checkpoint_without_classification_head_is_refused(build):
    weights = build(3, classes=0).state_dict()
    said = _refusal(lambda: build(3).load_state_dict(weights))
    assert f"no classification head '{HEAD}'" in said and "--finetune-from-model" in said


def test_a_classification_head_of_other_classes_is_refused(build):
    weights = build(3, classes=2).state_dict()
    said = _refusal(lambda: build(3).load_state_dict(weights))
    assert "has 2 classes, and this model 3 (--num-classes)" in said


@pytest.mark.parametrize("classes", [0, 2])
def test_a_fine_tuning_gets_a_new_head(build, tokens, tmp_path, classes, caplog):
    start = tmp_path / "dense.pt"
    weights = build(8, classes=classes).state_dict()
    args = build(8, classes=classes).args
    torch.save({"args": None, "cfg": {"model": args}, "model": weights}, start)
    model = build(3, finetune_from_model=str(start), save_dir=str(tmp_path))
    model.train()
    list(model.parameters())
    with caplog.at_level(logging.INFO):
        model.load_state_dict({**weights, f"{POOLER}dense.weight": torch.eye(32)})
    assert "a new one is trained" in caplog.text
    assert torch.equal(model.classification_heads[HEAD].dense.weight, torch.eye(32))
    assert _logits(model, tokens).shape == (3, 3)


def test_importance_alone_needs_a_head_that_was_trained(build, tmp_path):
    start = tmp_path / "dense.pt"
    dense = build(8, classes=0)
    weights = dense.state_dict()
    torch.save({"args": None, "cfg": {"model": dense.args}, "model": weights}, start)
    flags = {"pruning_mode": "pipelined", "finetune_updates": 5, "max_update": 20}
    model = build(3, finetune_from_model=str(start), save_dir=str(tmp_path), **flags)
    list(model.parameters())
    assert "--pruning-mode pipelined" in _refusal(lambda: model.load_state_dict(weights))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"layer_norm_eps": 1e-12}, "--layer-norm-eps 1e-12, and this training has 1e-05"),
        ({"token_types": 2}, "--token-types 2, and this training has 0"),
        ({"activation_fn": "relu"}, "--activation-fn relu, and this training has gelu"),
    ],
)
def test_a_start_of_another_function_is_refused(build, tmp_path, flags, said):
    start = tmp_path / "dense.pt"
    dense = build(8, **flags)
    torch.save({"args": None, "cfg": {"model": dense.args}, "model": dense.state_dict()}, start)
    model = build(3, finetune_from_model=str(start), save_dir=str(tmp_path))
    assert said in _refusal(lambda: list(model.parameters()))


def test_a_start_from_fairseqs_own_model(build, tmp_path):
    start = tmp_path / "dense.pt"
    stock = build(kind=RobertaModel)
    args = Namespace(**{**vars(stock.args), "arch": "roberta"})
    del args.layer_norm_eps, args.token_types
    torch.save({"args": None, "cfg": {"model": args}, "model": stock.state_dict()}, start)
    model = build(3, finetune_from_model=str(start), save_dir=str(tmp_path))
    list(model.parameters())
    model.load_state_dict(stock.state_dict())


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("mha_reg_scale_factor", 0.1),
        ("ffn_reg_scale_factor", 0.1),
        ("mha_heads_to_keep", 2),
        ("ffn_blocks_to_remove", 1),
        ("spectral_norm_classification_head", True),
        ("quant_noise_pq", 0.1),
        ("encoder_layers_to_keep", "0"),
    ],
)
def test_what_does_not_go_together_with_head_pruning(build, flag, value):
    said = _refusal(lambda: build(3, **{flag: value}))
    assert said.endswith(f"--{flag.replace('_', '-')} is not supported by dsp_roberta")


# ---- what fairseq's own model cannot do


def test_token_types_have_no_place_in_fairseqs_model():
    said = _refusal(lambda: ROBERTA.check_dense(Namespace(token_types=2)))
    assert "--format pruned" in said


def test_another_eps_is_told(caplog):
    ROBERTA.check_dense(Namespace(layer_norm_eps=1e-5))
    assert not caplog.records
    ROBERTA.check_dense(Namespace(layer_norm_eps=1e-12))
    assert "eps 1e-05, this model with 1e-12" in caplog.text
