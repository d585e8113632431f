"""The gated encoder of BERT and RoBERTa, with classification heads, and its architectures."""

from __future__ import annotations

import logging
import platform
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaEncoder, RobertaModel
from fairseq.models.roberta.model import base_architecture, init_bert_params
from fairseq.models.transformer import TransformerConfig, TransformerEncoderBase
from torch import Tensor, nn

from ..checkpoints.formats import POOLER
from ..errors import PruningError, exits_in_one_line
from ..heads.family import Family, register_family
from ..heads.layout import ENCODER_SELF, Site
from ..modules.layers import GatedEncoderLayer, wrap_layer
from ..pruning.flags import training_flag
from ..pruning.gates import HeadGates
from ..pruning.hooks import Stage
from ..pruning.mixin import HeadPruningMixin
from ..pruning.refusals import checked_when_parsed, refuse_other_criterion

logger = logging.getLogger(__name__)

_ADDED: dict[str, Any] = {"layer_norm_eps": 1e-5, "token_types": 0}
"""What the gated model has flags for, and what fairseq's own model does."""

_OFF = {
    "mha_reg_scale_factor": 0.0,
    "ffn_reg_scale_factor": 0.0,
    "mha_heads_to_keep": -1,
    "ffn_blocks_to_remove": -1,
    "spectral_norm_classification_head": False,
}
"""Flags of fairseq's model that prune or change weights in ways of their own."""


class GatedSentenceEncoder(TransformerEncoderBase):
    """fairseq's encoder, of gated layers; with token types where the model has them.

    Token types tell the sentences of a pair apart, as in BERT: 1 behind the first ``</s>``, else 0.
    """

    def __init__(
        self, cfg: TransformerConfig, dictionary: Any, embed_tokens: nn.Module, types: int
    ) -> None:
        super().__init__(cfg, dictionary, embed_tokens)
        self.end = dictionary.eos()
        self.embed_types = nn.Embedding(types, cfg.encoder.embed_dim) if types else None

    def build_encoder_layer(self, cfg: TransformerConfig) -> nn.Module:
        return wrap_layer(GatedEncoderLayer(cfg, return_fc=self.return_fc), cfg)

    def forward_embedding(
        self, src_tokens: Tensor, token_embedding: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As fairseq's; ``src_tokens`` is ``[B, T]``."""
        if self.embed_types is not None:
            ends = src_tokens.eq(self.end).long()
            types = (ends.cumsum(1) - ends).clamp(max=1)
            token_embedding = self.embed_tokens(src_tokens) + self.embed_types(types)
        return super().forward_embedding(src_tokens, token_embedding)


class GatedRobertaEncoder(RobertaEncoder):
    """fairseq's encoder with its unused head for masked tokens, of gated layers."""

    def build_encoder(
        self, args: Any, dictionary: Any, embed_tokens: nn.Module
    ) -> GatedSentenceEncoder:
        config = TransformerConfig.from_namespace(args)
        encoder = GatedSentenceEncoder(config, dictionary, embed_tokens, args.token_types)
        encoder.apply(init_bert_params)
        return encoder


def add_encoder_flags(parser: Any) -> None:
    """Adds the flags that fairseq's model does not have."""
    parser.add_argument(
        "--layer-norm-eps",
        type=float,
        help="eps of all layer norms: 1e-12 in BERT, 1e-5 in RoBERTa (default: 1e-5; "
        "dsp_roberta_minilm_l6 1e-12)",
    )
    parser.add_argument(
        "--token-types",
        type=int,
        choices=(0, 2),
        help="2: embeddings that tell the sentences of a pair apart, as in BERT (default: 0; "
        "dsp_roberta_minilm_l6 2)",
    )
    parser.add_argument(
        "--autocast-bf16",
        action="store_true",
        help="train with matrix products in bfloat16, on a CPU or a GPU; weights, gates, "
        "gradients, optimizer and validation stay in float32",
    )


# ---- the family


def _sites(args: Any) -> dict[Site, int]:
    name = "encoder.sentence_encoder.layers.{}.self_attn"
    return {
        Site(ENCODER_SELF, layer, name.format(layer)): int(args.encoder_attention_heads)
        for layer in range(int(args.encoder_layers))
    }


def _check_dense(args: Any) -> None:
    if getattr(args, "token_types", 0):
        raise PruningError(
            "fairseq's roberta has no token types, and this model has: export it with --format "
            "pruned"
        )
    own, eps = _ADDED["layer_norm_eps"], getattr(args, "layer_norm_eps", None)
    if eps not in (None, own):
        logger.warning(
            "fairseq's roberta has layer norms with eps %g, this model with %g: outputs of the "
            "export differ in the third digit",
            own,
            eps,
        )


ROBERTA = register_family(
    Family(
        name="dsp_roberta",
        dense="roberta",
        criterion="sentence_prediction",
        kinds=(ENCODER_SELF,),
        sites=_sites,
        structure=(
            "encoder_attention_heads",
            "encoder_normalize_before",
            "activation_fn",
            "pooler_activation_fn",
            *_ADDED,
        ),
        defaults=_ADDED,
        check_dense=_check_dense,
    )
)


# ---- the model


class _GatedRoberta(RobertaModel):
    """fairseq's model over the gated encoder, in training in bfloat16 where that was asked for."""

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        for name, off in _OFF.items():
            if getattr(args, name, off) != off:
                flag = name.replace("_", "-")
                raise PruningError(f"--{flag} is not supported by {ROBERTA.name}")
        args.max_positions = getattr(args, "max_positions", None) or task.max_positions()
        return cls(args, GatedRobertaEncoder(args, task.source_dictionary))

    def forward(self, src_tokens: Tensor, **kwargs: Any) -> tuple[Tensor, dict[str, Any]]:
        """As fairseq's; gates were drawn before, in float32."""
        half = self.training and self.args.autocast_bf16
        with torch.autocast(src_tokens.device.type, torch.bfloat16) if half else nullcontext():
            x, extra = super().forward(src_tokens, **kwargs)
        return x.float() if half else x, extra


@register_model("dsp_roberta")
class DspRobertaModel(HeadPruningMixin, _GatedRoberta):
    """A BERT or RoBERTa that keeps exactly K of its N attention heads."""

    family = ROBERTA

    def __init__(self, args: Any, encoder: GatedRobertaEncoder) -> None:
        super().__init__(args, encoder)
        for module in self.modules():
            # fairseq's builders take no eps; of the fused layer norm of apex this is the name too.
            if hasattr(module, "normalized_shape"):
                module.eps = args.layer_norm_eps

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Adds the flags of fairseq's model, the head-pruning flags, and those of BERT."""
        add_encoder_flags(parser)
        super().add_args(parser)

    # ---- training

    def on_training_planned(self) -> None:
        super().on_training_planned()
        on_cpu = training_flag(self.args, "cpu") or not torch.cuda.is_available()
        if self.args.autocast_bf16 and on_cpu and not _multiplies_bf16():
            logger.warning(
                "this CPU has no instructions for bfloat16: --autocast-bf16 makes training two to "
                "ten times slower here"
            )

    # ---- classification heads

    @exits_in_one_line
    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        # fairseq gives a head that the file lacks, or has with other classes, random weights.
        for head in self.classification_heads:
            self._check_classification_head(head, state_dict)
        for key in [key for key in state_dict if key.startswith(POOLER)]:
            del state_dict[key]
        super().upgrade_state_dict_named(state_dict, name)

    def _check_classification_head(self, name: str, weights: dict[str, Tensor]) -> None:
        prefix = f"classification_heads.{name}."
        own = self.classification_heads[name].state_dict()
        classes = own["out_proj.bias"].numel()
        found = weights.get(f"{prefix}out_proj.bias")
        if found is not None and found.numel() == classes:
            return
        reason = f"the checkpoint has no classification head {name!r}"
        if found is not None:
            reason = (
                f"the classification head of the checkpoint has {found.numel()} classes, and this "
                f"model {classes} (--num-classes)"
            )
        self._refuse_new_head(reason)
        logger.info("%s: a new one is trained", reason)
        for key, value in own.items():
            weights[prefix + key] = weights.get(POOLER + key, value) if "dense" in key else value

    def _refuse_new_head(self, reason: str) -> None:
        """A head with random weights is good for a training of all weights only."""
        starts = self._stage == Stage.CHECKED
        if not (starts and training_flag(self.args, "finetune_from_model")):
            raise PruningError(
                f"{reason}: train it first, with fairseq-train --finetune-from-model"
            )
        if isinstance(self.head_gates, HeadGates) and self.head_gates.plan.pipelined:
            raise PruningError(
                f"{reason}, and --pruning-mode pipelined starts from a model that can do its task: "
                "train all heads first"
            )


def _multiplies_bf16() -> bool:
    """Whether the CPU has instructions for it; oneDNN's answer is yes for all of AVX-512."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


# ---- architectures


def _with_defaults(args: Any, **defaults: Any) -> None:
    for name, value in defaults.items():
        setattr(args, name, getattr(args, name, value))


def dsp_roberta(args: Any) -> None:
    """The size of BERT-base and RoBERTa-base: 12 layers of width 768 with 12 heads each."""
    _with_defaults(args, autocast_bf16=False, **_ADDED)
    base_architecture(args)


def dsp_roberta_large(args: Any) -> None:
    """24 layers of width 1024 with 16 heads each: 384 heads."""
    _with_defaults(
        args,
        encoder_layers=24,
        encoder_embed_dim=1024,
        encoder_ffn_embed_dim=4096,
        encoder_attention_heads=16,
    )
    dsp_roberta(args)


def dsp_roberta_minilm_l6(args: Any) -> None:
    """6 layers of width 384 with 12 heads each: 72 heads."""
    _with_defaults(
        args,
        encoder_layers=6,
        encoder_embed_dim=384,
        encoder_ffn_embed_dim=1536,
        encoder_attention_heads=12,
        layer_norm_eps=1e-12,
        token_types=2,
    )
    dsp_roberta(args)


def dsp_roberta_tiny(args: Any) -> None:
    """2 layers of width 32 with 4 heads each, for tests: 8 heads."""
    _with_defaults(
        args,
        encoder_layers=2,
        encoder_embed_dim=32,
        encoder_ffn_embed_dim=64,
        encoder_attention_heads=4,
    )
    dsp_roberta(args)


_ARCHITECTURES: Iterable[tuple[str, Callable[[Any], None]]] = (
    ("dsp_roberta", dsp_roberta),
    ("dsp_roberta_base", dsp_roberta),
    ("dsp_roberta_large", dsp_roberta_large),
    ("dsp_roberta_minilm_l6", dsp_roberta_minilm_l6),
    ("dsp_roberta_tiny", dsp_roberta_tiny),
)

for _name, _fill_in in _ARCHITECTURES:
    register_model_architecture("dsp_roberta", _name)(
        # What the data lacks is said by the task. Without the criterion fairseq cannot make its
        # configuration.
        checked_when_parsed(_fill_in, lambda args: refuse_other_criterion(args, ROBERTA))
    )
