"""A family of models as a stranger would add it: an encoder-only language model, in one file.

Given as ``--user-dir``. All that pruning needs of it: its sites, its model, its criterion.
"""

from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.masked_lm import MaskedLmConfig, MaskedLmLoss
from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaEncoder, RobertaModel
from fairseq.models.roberta.model import base_architecture, init_bert_params
from fairseq.models.transformer import TransformerConfig

from dsp_fairseq.heads.family import Family, register_family
from dsp_fairseq.heads.layout import ENCODER_SELF, Site
from dsp_fairseq.models.transformer import GatedTransformerEncoder
from dsp_fairseq.pruning.criterion import GateCriterionMixin
from dsp_fairseq.pruning.flags import DistillationConfig
from dsp_fairseq.pruning.mixin import HeadPruningMixin


def _sites(args: Any) -> dict[Site, int]:
    name = "encoder.sentence_encoder.layers.{}.self_attn"
    layers = range(int(args.encoder_layers))
    return {
        Site(ENCODER_SELF, i, name.format(i)): int(args.encoder_attention_heads) for i in layers
    }


FAMILY = register_family(
    Family(
        name="dsp_second",
        dense="roberta",
        criterion="masked_lm",
        kinds=(ENCODER_SELF,),
        sites=_sites,
        structure=("encoder_attention_heads", "encoder_normalize_before", "activation_fn"),
    )
)


class _Encoder(RobertaEncoder):
    def build_encoder(self, args: Any, dictionary: Any, embed_tokens: Any) -> Any:
        config = TransformerConfig.from_namespace(args)
        encoder = GatedTransformerEncoder(config, dictionary, embed_tokens)
        encoder.apply(init_bert_params)
        return encoder


class _Roberta(RobertaModel):
    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        args.max_positions = getattr(args, "max_positions", None) or task.max_positions()
        return cls(args, _Encoder(args, task.source_dictionary))


@register_model("dsp_second")
class SecondModel(HeadPruningMixin, _Roberta):
    family = FAMILY


@dataclass
class _CriterionConfig(DistillationConfig, MaskedLmConfig):
    pass


@register_criterion("dsp_masked_lm", dataclass=_CriterionConfig)
class SecondCriterion(GateCriterionMixin, MaskedLmLoss):
    pass


@register_model_architecture("dsp_second", "dsp_second")
def fill_in(args: Any) -> None:
    base_architecture(args)
