"""Transformer layers: every attention is gated, and shaped as fairseq's."""

from __future__ import annotations

import pytest
import torch
from fairseq.models.transformer import TransformerConfig
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayerBase,
    TransformerEncoderLayerBase,
)

from dsp_fairseq.modules.attention import GatedAttention
from dsp_fairseq.modules.layers import GatedDecoderLayer, GatedEncoderLayer, wrap_layer


@pytest.fixture
def config():
    config = TransformerConfig()
    config.encoder.embed_dim, config.decoder.embed_dim = 16, 8
    config.encoder.attention_heads, config.decoder.attention_heads = 4, 2
    return config


@pytest.mark.parametrize(
    ("ours", "theirs", "attentions"),
    [
        (GatedEncoderLayer, TransformerEncoderLayerBase, {"self_attn": 4}),
        (GatedDecoderLayer, TransformerDecoderLayerBase, {"self_attn": 2, "encoder_attn": 2}),
    ],
)
def test_layers_hold_the_weights_of_fairseqs(config, ours, theirs, attentions):
    layer = ours(config)
    shapes = {name: value.shape for name, value in layer.state_dict().items()}
    assert shapes == {name: value.shape for name, value in theirs(config).state_dict().items()}
    found = {n: m.num_heads for n, m in layer.named_children() if isinstance(m, GatedAttention)}
    assert found == attentions


def test_activation_checkpointing_computes_the_same(config):
    config.dropout = 0.0
    x, layer = torch.randn(3, 2, 16, requires_grad=True), GatedEncoderLayer(config)
    grads = []
    for checkpoint in (False, True):
        config.checkpoint_activations = checkpoint
        output = wrap_layer(layer, config)(x, None)
        x.grad = None
        output.pow(2).sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)
    assert grads[0].abs().max() > 0
