"""The gated encoder-decoder transformer and its architectures."""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.distributed import fsdp_wrap
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
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayerBase,
    TransformerEncoderLayerBase,
)
from torch import Tensor, nn

from ..checkpoints.formats import FORMAT_KEY, upgrade_weights
from ..checkpoints.validation import check_gates, check_shapes, check_tensors
from ..errors import PruningError, exits_in_one_line
from ..heads.family import Family, register_family
from ..heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF, Site, parse_kept_heads
from ..modules.attention import GatedAttention
from ..pruning.flags import (
    PruningConfig,
    as_namespace,
    resolve_kept_heads,
    training_flag,
)
from ..pruning.gates import FixedHeads, HeadGates
from ..pruning.nonfinite import UpdateWatch
from ..pruning.optimizer import importance_flags
from ..pruning.plan import check_schedule, plan_pruning
from ..pruning.refusals import checked_when_parsed, refuse_training, refuse_unsupported
from ..pruning.resume import check_start_file

logger = logging.getLogger(__name__)

_CHECKPOINT = "the checkpoint"
"""What a file is called whose name fairseq does not tell."""


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


def _wrap(layer: nn.Module, cfg: TransformerConfig) -> nn.Module:
    """Activation checkpointing and sharding of a layer, as fairseq's own layer builders do it."""
    if cfg.checkpoint_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
    return fsdp_wrap(
        layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap
    )


class GatedTransformerEncoder(TransformerEncoderBase):
    """fairseq's encoder, of gated layers.

    In beam search its output stays once per sentence, for all beams to share.
    """

    beam_size = 1

    def build_encoder_layer(self, cfg: TransformerConfig) -> nn.Module:
        return _wrap(GatedEncoderLayer(cfg, return_fc=self.return_fc), cfg)

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
        return _wrap(GatedDecoderLayer(cfg, no_encoder_attn), cfg)


@register_model("dsp_transformer")
class DspTransformerModel(TransformerModel):
    """A transformer that keeps exactly K of its N attention heads.

    While training before the freeze, all heads run and are scaled by relaxed gates. From the
    freeze on, and in evaluation always, exactly K heads take part.

    Source: Li, Cotterell and Sachan, *Differentiable Subset Pruning of Transformer Heads*,
    TACL 2021.

    Raises:
        PruningError: an option that head pruning does not support, or a wrong pruning flag.
    """

    def __init__(
        self,
        args: Any,
        encoder: GatedTransformerEncoder,
        decoder: GatedTransformerDecoder,
    ) -> None:
        super().__init__(args, encoder, decoder)
        layout = FAMILY.layout(args)
        self._attentions = {site: self.get_submodule(site.module_name) for site in layout.sites}
        kept = PruningConfig.from_namespace(args).kept_heads
        self.head_gates: HeadGates | FixedHeads
        if kept is not None:
            self.head_gates = FixedHeads(layout, layout.mask(parse_kept_heads(kept, layout)))
        else:
            self.head_gates = HeadGates(layout, plan_pruning(args, layout))
        self._open_heads()
        if isinstance(self.head_gates, FixedHeads):
            for attention in self._attentions.values():
                attention.remove_closed_heads()
            logger.info(
                "exported model: it has %d of %s", self.head_gates.open_mask().sum(), layout
            )
        else:
            plan = self.head_gates.plan
            logger.info("keeping %s of %s; %s", " and ".join(map(str, plan.budgets)), layout, plan)
        self._has_started = False
        self._has_trained = False
        self._has_loaded = False
        self.watch = UpdateWatch()
        self.watch.save_dir = training_flag(args, "save_dir")
        self.watch.scaled = any(training_flag(args, flag) for flag in ("fp16", "amp"))
        if isinstance(self.head_gates, HeadGates):
            importance_flags(self.head_gates.importance)["watch"] = self.watch

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Adds fairseq's transformer flags and the head-pruning flags."""
        super().add_args(parser)
        gen_parser_from_dataclass(parser, PruningConfig())

    @classmethod
    @exits_in_one_line
    def build_model(cls, args: Any, task: Any) -> DspTransformerModel:
        """Builds the model from fairseq-train's namespace or fairseq-hydra-train's config."""
        if getattr(args, "kept_heads", None) is not None:
            resolve_kept_heads(args)
        args = as_namespace(args)
        base_architecture(args)
        refuse_unsupported(args)
        return super().build_model(args, task)

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

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As fairseq's transformer; in training it draws this update's gates first."""
        if self.training:
            if not self._has_trained:
                self._begin_training()
            if self.head_gates.begin_forward():
                self._open_heads()
                self._hold_empty_sites()
            if self.head_gates.is_sampling:
                self.scale_heads(self.head_gates())
            if self.head_gates.holds_weights:
                with _without_gradients(self.encoder, self.decoder):
                    return super().forward(*args, **kwargs)
        return super().forward(*args, **kwargs)

    @exits_in_one_line
    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        # fairseq has no hook between building a model and reading the checkpoint that training
        # starts from. fairseq-train counts the parameters there; no command that takes the model
        # from a checkpoint asks for them before its weights are loaded.
        if not (self._has_started or self._has_loaded):
            self._has_started = True
            refuse_training(self.args)
            check_start_file(self.args, self.head_gates.layout)
        return super().parameters(recurse)

    @exits_in_one_line
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        if self._has_trained:
            self.watch.check_saving(self.named_parameters())
        return super().state_dict(*args, **kwargs)

    def set_num_updates(self, num_updates: int) -> None:
        super().set_num_updates(num_updates)
        self.watch.begin(num_updates + 1)

    @exits_in_one_line
    def _begin_training(self) -> None:
        self._has_trained = True
        self._hold_empty_sites()
        if not isinstance(self.head_gates, HeadGates) or self.head_gates.is_frozen:
            return
        plan, layout = self.head_gates.plan, self.head_gates.layout
        if plan.pipelined and not self._has_loaded:
            raise PruningError(
                "--pruning-mode pipelined starts from a trained model: name its checkpoint with "
                "--finetune-from-model"
            )
        check_schedule(plan, layout, training_flag(self.args, "max_update"))

    def train(self, mode: bool = True) -> DspTransformerModel:
        super().train(mode)
        if not mode:
            self._open_heads()
        return self

    def set_beam_size(self, beam_size: int) -> None:
        """fairseq's hook of beam search: the encoder's output will be shared by the beams."""
        self.encoder.beam_size = beam_size

    def make_generation_fast_(self, **kwargs: Any) -> None:
        """fairseq's hook before generation; the attention modules drop their closed heads."""
        # fairseq leaves training only afterwards, and an update may have another budget.
        self.eval()
        super().make_generation_fast_(**kwargs)

    @exits_in_one_line
    def load_state_dict(self, state_dict: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        result = super().load_state_dict(state_dict, *args, **kwargs)
        self._has_loaded = True
        self.head_gates.after_load()
        self._open_heads()
        return result

    @exits_in_one_line
    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Checks that the checkpoint is of a gated model with this number of heads.

        A dense transformer checkpoint is taken only where it was asked for, as a start with
        ``--finetune-from-model``.
        """
        super().upgrade_state_dict_named(state_dict, name)
        check_tensors(state_dict, _CHECKPOINT)
        upgrade_weights(state_dict, _CHECKPOINT)
        self._adapt_gates(state_dict)
        check_shapes(state_dict, self.state_dict(), _CHECKPOINT)
        if isinstance(self.head_gates, HeadGates):
            check_gates(state_dict, self.head_gates.layout, _CHECKPOINT)

    def _adapt_gates(self, state_dict: dict[str, Tensor]) -> None:
        if isinstance(self.head_gates, FixedHeads):
            if "head_gates.importance" in state_dict:
                raise PruningError(
                    "--kept-heads builds an exported model, but the checkpoint has all its heads: "
                    "start from the file that dsp-export wrote"
                )
            state_dict.setdefault(FORMAT_KEY, self.head_gates.state_dict()["format"])
            return
        own = {f"head_gates.{key}": value for key, value in self.head_gates.state_dict().items()}
        if training_flag(self.args, "finetune_from_model") and _has_all_heads(state_dict):
            for key in own:
                state_dict.pop(key, None)
        missing = [key for key in own if key not in state_dict]
        # Exported models have the number of the format only.
        if set(missing) >= own.keys() - {FORMAT_KEY}:
            if self._differs_in_heads(state_dict):
                raise PruningError(
                    "the checkpoint has other heads than this model: if dsp-export wrote it, build "
                    "its model with --kept-heads FILE"
                )
            if not training_flag(self.args, "finetune_from_model"):
                raise PruningError(
                    "the checkpoint is of a dense transformer, without head importance: start "
                    "from it with --finetune-from-model, or give its own --arch"
                )
            logger.info(
                "dense checkpoint: all its weights are taken, and importance is added for %s",
                self.head_gates.layout,
            )
            state_dict.update(own)
        elif missing:
            raise PruningError(f"the checkpoint lacks {', '.join(missing)}: the file is damaged")
        found = state_dict["head_gates.importance"].numel()
        if found != self.head_gates.layout.num_heads:
            raise PruningError(
                f"the checkpoint has {found} heads, this model "
                f"{self.head_gates.layout}: their layers or heads differ"
            )

    def _differs_in_heads(self, state_dict: dict[str, Tensor]) -> bool:
        names = (f"{site.module_name}.q_proj.weight" for site in self._attentions)
        own = self.state_dict()
        return any(n in state_dict and state_dict[n].shape != own[n].shape for n in names)

    def scale_heads(self, gates: Tensor) -> None:
        """Runs all heads, each scaled by its gate (``[N]``), until told otherwise."""
        for site, gate in self.head_gates.layout.split(gates).items():
            self._attentions[site].use_gate(gate)

    def _open_heads(self) -> None:
        kept = self.head_gates.layout.kept(self.head_gates.open_mask())
        for site, heads in kept.items():
            self._attentions[site].use_heads(heads)

    def _hold_empty_sites(self) -> None:
        """Tells the optimizer's wrappers that a site left without heads has no gradients.

        Those of several processes would make zeros of them, and momentum would go on moving the
        weights. The bias of the output projection is all that such a site still uses.
        """
        if not isinstance(self.head_gates, HeadGates) or self.head_gates.is_sampling:
            return
        for site, heads in self.head_gates.layout.kept(self.head_gates.reachable_mask()).items():
            if not heads:
                attention = self._attentions[site]
                for parameter in attention.parameters():
                    if parameter is not attention.out_proj.bias:
                        parameter.requires_grad_(False)


def _has_all_heads(state_dict: dict[str, Tensor]) -> bool:
    """Whether this is a gated model that was trained with all its heads."""
    budgets = state_dict.get("head_gates.budgets")
    return budgets is not None and bool(budgets[-1]) and int(budgets.sum()) == 1


@contextmanager
def _without_gradients(*modules: nn.Module) -> Iterator[None]:
    """Inside, the parameters are constants; to the optimizer they stay parameters."""
    held = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


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


FAMILY = register_family(
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


_ARCHITECTURES: Iterable[tuple[str, Callable[[Any], None]]] = (
    ("dsp_transformer", base_architecture),
    ("dsp_transformer_tiny", dsp_transformer_tiny),
    ("dsp_transformer_iwslt_de_en", transformer_iwslt_de_en),
    ("dsp_transformer_wmt_en_de", transformer_wmt_en_de),
    ("dsp_transformer_wmt_en_de_big", transformer_wmt_en_de_big),
)


for _name, _fill_in in _ARCHITECTURES:
    register_model_architecture("dsp_transformer", _name)(checked_when_parsed(_fill_in))
