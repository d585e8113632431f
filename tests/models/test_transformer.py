"""The gated transformer: equal to the dense model where it must be, exact where it prunes."""

from __future__ import annotations

import pytest
import torch

OPTIONS = [
    {},
    {"encoder_normalize_before": True, "decoder_normalize_before": True},
    {"share_all_embeddings": True},
    {"encoder_attention_heads": 2, "decoder_attention_heads": 8, "num_of_heads": 40 - 4},
    {"checkpoint_activations": True},
    {"adaptive_softmax_cutoff": [8, 16]},
    {"no_cross_attention": True, "num_of_heads": 16},
    {"encoder_learned_pos": True, "layernorm_embedding": True},
]


def _output(model, batch):
    """Logits, or features under an adaptive softmax."""
    return model(**batch, features_only=model.decoder.adaptive_softmax is not None)[0]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("training", [True, False])
def test_all_heads_is_the_dense_model(build, build_stock, batch, options, training):
    stock_options = {k: v for k, v in options.items() if k != "num_of_heads"}
    model, stock = build(**options), build_stock(**stock_options)
    result = stock.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("head_gates.")}
    )
    assert not result.missing_keys
    outputs, grads = [], []
    for m in (model, stock):
        m.train(training)
        out = _output(m, batch)
        out.pow(2).sum().backward()
        outputs.append(out.detach())
        grads.append({n: p.grad for n, p in m.named_parameters() if p.grad is not None})
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-6, atol=1e-6)
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-4, atol=1e-5)


def test_initial_weights_are_those_of_the_dense_model(build, build_stock):
    torch.manual_seed(5)
    stock = build_stock().state_dict()
    torch.manual_seed(5)
    model = build(12).state_dict()
    assert all(torch.equal(model[name], value) for name, value in stock.items())


@pytest.mark.parametrize("k", [0, 1, 12, 23, 24])
def test_evaluation_is_multiplying_closed_heads_by_zero(build, build_stock, batch, k):
    model = build(k).double().eval()
    with torch.no_grad():
        model.head_gates.importance.copy_(torch.randn(24))
    model.eval()
    mask = model.head_gates.open_mask()
    assert mask.sum() == k
    stock = build_stock().double().eval()
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("head_gates.")}
    for site, kept in model.head_gates.layout.kept(mask).items():
        name = {
            "encoder.self": "encoder.layers.{}.self_attn",
            "decoder.self": "decoder.layers.{}.self_attn",
            "decoder.cross": "decoder.layers.{}.encoder_attn",
        }[site.kind].format(site.layer) + ".out_proj.weight"
        gate = torch.zeros(4, dtype=torch.double)
        gate[kept] = 1
        weights[name] = weights[name] * gate.repeat_interleave(4)
    stock.load_state_dict(weights)
    torch.testing.assert_close(model(**batch)[0], stock(**batch)[0], rtol=1e-5, atol=1e-6)


def test_unfrozen_training_draws_gates_that_reach_importance(build, batch):
    model = build(6)
    model.train()
    model.set_num_updates(3)
    model(**batch)[0].pow(2).sum().backward()
    grad = model.head_gates.importance.grad
    assert torch.isfinite(grad).all() and grad.abs().max() > 0
    assert abs(model.head_gates.statistics()["gate_sum"].item() - 6) < 1e-4
