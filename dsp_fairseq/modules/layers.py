"""fairseq's transformer layers with gated attention."""

from __future__ import annotations

from typing import Any

from fairseq.distributed import fsdp_wrap
from fairseq.models.transformer import TransformerConfig
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayerBase,
    TransformerEncoderLayerBase,
)
from torch import nn

from .attention import GatedAttention


class GatedEncoderLayer(TransformerEncoderLayerBase):
    """fairseq's encoder layer with gated self-attention."""

    def build_self_attention(self, embed_dim: int, cfg: TransformerConfig) -> GatedAttention:
        return GatedAttention(
            embed_dim,
            cfg.encoder.attention_heads,
            dropout=cfg.attention_dropout,
            self_attention=True,
        )


class GatedDecoderLayer(TransformerDecoderLayerBase):
    """fairseq's decoder layer with gated self-attention and gated encoder attention."""

    def build_self_attention(
        self, embed_dim: int, cfg: TransformerConfig, **kwargs: Any
    ) -> GatedAttention:
        return GatedAttention(
            embed_dim,
            cfg.decoder.attention_heads,
            dropout=cfg.attention_dropout,
            self_attention=True,
        )

    def build_encoder_attention(self, embed_dim: int, cfg: TransformerConfig) -> GatedAttention:
        return GatedAttention(
            embed_dim,
            cfg.decoder.attention_heads,
            kdim=cfg.encoder.embed_dim,
            vdim=cfg.encoder.embed_dim,
            dropout=cfg.attention_dropout,
            encoder_decoder_attention=True,
        )


def wrap_layer(layer: nn.Module, cfg: TransformerConfig) -> nn.Module:
    """Activation checkpointing and sharding of a layer, as fairseq's own layer builders do it."""
    if cfg.checkpoint_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
    return fsdp_wrap(
        layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap
    )
