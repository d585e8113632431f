"""What a model needs before CTranslate2 takes it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.errors import PruningError
from dsp_fairseq.export.ctranslate2 import pad_heads, write_ctranslate2
from dsp_fairseq.export.exporter import EXPORTERS
from dsp_fairseq.export.parity import Hypothesis, Translations, agree
from dsp_fairseq.heads.head_map import HeadMap
from dsp_fairseq.heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF, HeadLayout, Site
from dsp_fairseq.modules.attention import GatedAttention


@pytest.mark.parametrize("kept", [[], [2], [0, 3]])
def test_heads_of_zero_weight_change_nothing(kept):
    attention = GatedAttention(16, 4, self_attention=True).eval()
    attention.use_heads(kept)
    attention.remove_closed_heads()
    x = torch.randn(5, 2, 16)
    before, _ = attention(x, x, x, need_weights=False)
    pad_heads(attention, 3)
    assert attention.num_heads == 3
    assert attention.q_proj.weight.shape == (12, 16)
    assert attention.out_proj.weight.shape == (16, 12)
    after, _ = attention(x, x, x, need_weights=False)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"no_cross_attention": True}, "no counterpart of --no-cross-attention"),
        ({"adaptive_softmax_cutoff": "5,9"}, "no counterpart of --adaptive-softmax-cutoff"),
        ({"no_token_positional_embeddings": True}, "of --no-token-positional-embeddings"),
        ({"lang_tok_replacing_bos_eos": True}, "no counterpart of --lang-tok-replacing-bos-eos"),
        ({"encoder_layers": 0}, "wants layers on both sides, this has --encoder-layers 0"),
        ({"activation_fn": "tanh"}, "no counterpart of --activation-fn tanh"),
        ({"encoder_embed_dim": 8}, "wants --encoder-embed-dim and --decoder-embed-dim alike"),
        ({"decoder_normalize_before": True}, "wants --encoder-normalize-before and --decoder-"),
        ({"arch": "fconv"}, "fconv is not of a known model family"),
    ],
)
def test_what_it_has_no_counterpart_of_is_named_by_its_flag(arguments, tmp_path, flags, message):
    pytest.importorskip("ctranslate2")
    pruned = Checkpoint(tmp_path / "x.pt", {"cfg": {"model": arguments(6, **flags)}, "model": {}})
    with pytest.raises(PruningError, match=message):
        write_ctranslate2(pruned, tmp_path / "out", None, "float32")
    assert list(tmp_path.iterdir()) == []


def _map(*counts: int) -> HeadMap:
    """Of one encoder and two decoder sublayers of four heads."""
    sites = (Site(ENCODER_SELF, 0), Site(DECODER_SELF, 0), Site(DECODER_CROSS, 0))
    layout = HeadLayout(dict.fromkeys(sites, 4))
    mask = layout.mask({site: range(n) for site, n in zip(sites, counts, strict=True)})
    return HeadMap(layout, None, mask, frozen=True, budget=sum(counts))


def test_the_table_says_what_padding_costs_and_what_would_cost_less():

    def notes(*counts: int) -> list[str]:
        return EXPORTERS["ctranslate2"].notes(SimpleNamespace(head_map=_map(*counts)))

    assert notes(2, 4, 0) == [
        "padding      heads per sublayer: encoder 2, decoder 4; 10 computed, of 6 kept",
        "             --keep-at-most site=2 when training or ranking gives 6 computed at most",
    ]
    assert notes(2, 2, 2) == [
        "padding      heads per sublayer: encoder 2, decoder 2; 6 computed, of 6 kept",
    ]
    # CTranslate2 has no attention without heads.
    assert "encoder 1, decoder 1; 3 computed, of 0 kept" in notes(0, 0, 0)[0]


def test_the_advice_can_be_followed_where_sides_differ_in_heads():
    sites = {Site(ENCODER_SELF, 0): 2, Site(DECODER_SELF, 0): 8, Site(DECODER_CROSS, 0): 8}
    layout = HeadLayout(sites)
    encoder, own, cross = sites
    mask = layout.mask({encoder: range(2), own: range(8), cross: range(6)})
    head_map = HeadMap(layout, None, mask, frozen=True, budget=16)
    notes = EXPORTERS["ctranslate2"].notes(SimpleNamespace(head_map=head_map))
    assert notes == [
        "padding      heads per sublayer: encoder 2, decoder 8; 18 computed, of 16 kept",
        "             --keep-at-most site=7 when training or ranking gives 16 computed at most",
    ]


def test_blank_lines_are_no_disagreement():
    hypotheses = [Hypothesis((4, 2), -1.0), Hypothesis((5, 2), -1.0)]
    original = Translations(Path(), {}, None, [[4, 2], [2]], hypotheses, 3, 200)
    said = str(agree(original, [hypotheses[0], None]))
    assert "1 of 1 hypotheses are the same" in said
    assert (
        "1 of 3 sentences are too long" in said and "; 1 of 3 are blank, which CTranslate2" in said
    )
