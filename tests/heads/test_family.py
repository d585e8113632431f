"""Families of models: whose heads are known, and that no other model is taken for one of them."""

from __future__ import annotations

from argparse import Namespace

import pytest
from omegaconf import OmegaConf

from dsp_fairseq.errors import PruningError
from dsp_fairseq.heads import family as families
from dsp_fairseq.heads.family import Family, family_of, known_kinds, register_family
from dsp_fairseq.heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF, Site
from dsp_fairseq.models.transformer import TRANSFORMER

SHAPE = {
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
}


@pytest.mark.parametrize(
    "name",
    ["dsp_transformer", "dsp_transformer_tiny", "transformer", "transformer_iwslt_de_en"],
)
def test_gated_and_dense_transformers_are_one_family(name):
    for key in ("_name", "arch"):
        values = {**SHAPE, key: name}
        for args in (values, Namespace(**values), OmegaConf.create(values)):
            assert family_of(args) is TRANSFORMER
            assert family_of(args).layout(args).num_heads == 18


@pytest.mark.parametrize("name", ["fconv", "transformer_lm", "transformer_align", "mine", None])
def test_no_other_model_is_taken_for_a_transformer(name):
    said = name or "an unnamed model"
    with pytest.raises(PruningError, match=f"{said} is not of a known model family") as stop:
        family_of({**SHAPE, "arch": name})
    assert str(stop.value).endswith(", or give the package that has it by --user-dir")
    assert "\n" not in str(stop.value)


def test_the_order_of_translations_heads_is_what_stored_importance_depends_on():
    layout = TRANSFORMER.layout(SHAPE)
    assert [(str(site), site.module_name) for site in layout.sites] == [
        ("encoder.self.0", "encoder.layers.0.self_attn"),
        ("decoder.self.0", "decoder.layers.0.self_attn"),
        ("decoder.self.1", "decoder.layers.1.self_attn"),
        ("decoder.cross.0", "decoder.layers.0.encoder_attn"),
        ("decoder.cross.1", "decoder.layers.1.encoder_attn"),
    ]
    assert layout.heads == (2, 4, 4, 4, 4)
    assert TRANSFORMER.layout({**SHAPE, "no_cross_attention": True}).kinds() == [
        ENCODER_SELF,
        DECODER_SELF,
    ]


def test_another_family_is_one_registration(monkeypatch):
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    other = register_family(
        Family(
            name="dsp_stack",
            dense="stack",
            criterion="cross_entropy",
            kinds=("stack.self",),
            sites=lambda args: {
                Site("stack.self", layer, f"layers.{layer}.attention"): args.heads
                for layer in range(args.layers)
            },
        )
    )
    args = {"arch": "stack", "layers": 2, "heads": 3}
    assert family_of(args) is family_of({**args, "arch": "dsp_stack"}) is other
    assert str(other.layout(args)) == "6 heads (stack.self 3+3)"
    assert other.gated_criterion == "dsp_cross_entropy"
    assert known_kinds() == [ENCODER_SELF, DECODER_SELF, DECODER_CROSS, "stack.self"]
