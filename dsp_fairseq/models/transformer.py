"""The gated encoder-decoder transformer and its architectures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import (
    TransformerConfig,
    TransformerDecoderBase,
    TransformerEncoderBase,
    TransformerModel,
)
from fairseq.models.transformer.transformer_legacy import (
    base_architecture,
    transformer_iwslt_de_en,
    transformer_wmt_en_de,
    transformer_wmt_en_de_big,
)
from torch import Tensor, nn

from ..data.dataspec import DataSpec, data_folders
from ..heads.family import Family, register_family
from ..heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF, Site
from ..modules.layers import GatedDecoderLayer, GatedEncoderLayer, wrap_layer
from ..pruning.criterion import GateCriterionMixin
from ..pruning.flags import DistillationConfig
from ..pruning.mixin import HeadPruningMixin
from ..pruning.refusals import checked_when_parsed


class GatedTransformerEncoder(TransformerEncoderBase):
    """fairseq's encoder, of gated layers.

    In beam search its output stays once per sentence, for all beams to share.
    """

    beam_size = 1

    def build_encoder_layer(self, cfg: TransformerConfig) -> nn.Module:
        return wrap_layer(GatedEncoderLayer(cfg, return_fc=self.return_fc), cfg)

    def reorder_encoder_out(
        self, encoder_out: dict[str, list[Tensor]], new_order: Tensor
    ) -> dict[str, list[Tensor]]:
        """Follows the beams of :class:`fairseq.sequence_generator.SequenceGenerator`.

        Args:
            encoder_out: what the encoder returned.
            new_order: the first time, each sentence number once per beam; afterwards which beam
                ``0..sentences*beams-1`` each beam goes on from. Beams of a sentence stay together.
        """
        sentences = encoder_out["encoder_out"][0].size(1)
        if "beams" not in encoder_out:
            if self.beam_size == 1 or new_order.numel() != sentences * self.beam_size:
                return super().reorder_encoder_out(encoder_out, new_order)
            return {**encoder_out, "beams": [torch.tensor(self.beam_size)]}
        beams = int(encoder_out["beams"][0])
        order = new_order.view(-1, beams)[:, 0] // beams
        if order.numel() == sentences:
            return encoder_out
        reordered = super().reorder_encoder_out(encoder_out, order)
        return {**reordered, "beams": encoder_out["beams"]}


class GatedTransformerDecoder(TransformerDecoderBase):
    """fairseq's decoder, of gated layers."""

    def build_decoder_layer(
        self, cfg: TransformerConfig, no_encoder_attn: bool = False
    ) -> nn.Module:
        return wrap_layer(GatedDecoderLayer(cfg, no_encoder_attn), cfg)

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict[str, list[Tensor]] | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        full_context_alignment: bool = False,
        alignment_layer: int | None = None,
        alignment_heads: int | None = None,
    ) -> Any:
        """As fairseq's; alignment is by default of the last layer whose heads see the source."""
        if alignment_layer is None and not self.training:
            seeing = (i for i in reversed(range(self.num_layers)) if _sees_source(self.layers[i]))
            alignment_layer = next(seeing, None)
        return super().extract_features(
            prev_output_tokens,
            encoder_out,
            incremental_state,
            full_context_alignment,
            alignment_layer,
            alignment_heads,
        )


def _sees_source(layer: Any) -> bool:
    return layer.encoder_attn is not None and layer.encoder_attn.num_open > 0


# ---- the family


def _sites(args: Any) -> dict[Site, int]:
    encoder_heads = int(args.encoder_attention_heads)
    decoder_heads = int(args.decoder_attention_heads)
    sites = {}
    for layer in range(int(args.encoder_layers)):
        sites[Site(ENCODER_SELF, layer, f"encoder.layers.{layer}.self_attn")] = encoder_heads
    for layer in range(int(args.decoder_layers)):
        name = f"decoder.layers.{layer}"
        sites[Site(DECODER_SELF, layer, f"{name}.self_attn")] = decoder_heads
        if not getattr(args, "no_cross_attention", False):
            sites[Site(DECODER_CROSS, layer, f"{name}.encoder_attn")] = decoder_heads
    return sites


TRANSFORMER = register_family(
    Family(
        name="dsp_transformer",
        dense="transformer",
        criterion="label_smoothed_cross_entropy",
        kinds=(ENCODER_SELF, DECODER_SELF, DECODER_CROSS),
        sites=_sites,
        structure=(
            "encoder_attention_heads",
            "decoder_attention_heads",
            "encoder_normalize_before",
            "decoder_normalize_before",
            "encoder_learned_pos",
            "decoder_learned_pos",
            "activation_fn",
            "no_scale_embedding",
            "no_token_positional_embeddings",
        ),
    )
)


# ---- model and criterion


@register_model("dsp_transformer")
class DspTransformerModel(HeadPruningMixin, TransformerModel):
    """A transformer that keeps exactly K of its N attention heads."""

    family = TRANSFORMER

    @classmethod
    def build_encoder(
        cls, cfg: TransformerConfig, src_dict: Any, embed_tokens: nn.Module
    ) -> GatedTransformerEncoder:
        return GatedTransformerEncoder(cfg, src_dict, embed_tokens)

    @classmethod
    def build_decoder(
        cls, cfg: TransformerConfig, tgt_dict: Any, embed_tokens: nn.Module
    ) -> GatedTransformerDecoder:
        return GatedTransformerDecoder(
            cfg, tgt_dict, embed_tokens, no_encoder_attn=cfg.no_cross_attention
        )

    def set_beam_size(self, beam_size: int) -> None:
        """fairseq's hook of beam search: the encoder's output will be shared by the beams."""
        self.encoder.beam_size = beam_size


@dataclass
class _CriterionConfig(DistillationConfig, LabelSmoothedCrossEntropyCriterionConfig):
    """fairseq's flags and those of a teacher."""


@register_criterion("dsp_label_smoothed_cross_entropy", dataclass=_CriterionConfig)
class DspLabelSmoothedCrossEntropyCriterion(GateCriterionMixin, LabelSmoothedCrossEntropyCriterion):
    """fairseq's criterion under the sampled gates, plus the model's gate penalty and a teacher."""


# ---- architectures


def dsp_transformer_tiny(args: Any) -> None:
    """4+4 layers of width 128 with 4 heads each: 48 heads."""
    for side in ("encoder", "decoder"):
        for name, value in (
            ("layers", 4),
            ("embed_dim", 128),
            ("ffn_embed_dim", 256),
            ("attention_heads", 4),
        ):
            key = f"{side}_{name}"
            setattr(args, key, getattr(args, key, value))
    base_architecture(args)


def _check_data(args: Any) -> None:
    spec = DataSpec.of(vars(args))
    if not (spec.is_translation and getattr(args, "data", None)):
        return
    validation = [] if args.disable_validation else args.valid_subset.split(",")
    for split in (args.train_subset, *validation):
        spec.check_split(data_folders(args.data)[0], split)


_ARCHITECTURES: Iterable[tuple[str, Callable[[Any], None]]] = (
    ("dsp_transformer", base_architecture),
    ("dsp_transformer_tiny", dsp_transformer_tiny),
    ("dsp_transformer_iwslt_de_en", transformer_iwslt_de_en),
    ("dsp_transformer_wmt_en_de", transformer_wmt_en_de),
    ("dsp_transformer_wmt_en_de_big", transformer_wmt_en_de_big),
)


for _name, _fill_in in _ARCHITECTURES:
    register_model_architecture("dsp_transformer", _name)(
        checked_when_parsed(_fill_in, _check_data)
    )
