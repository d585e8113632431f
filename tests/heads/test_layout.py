"""The head layout."""

from __future__ import annotations

import torch

from dsp_fairseq.heads.layout import (
    DECODER_CROSS,
    DECODER_SELF,
    ENCODER_SELF,
    HeadLayout,
    Site,
    format_kept_heads,
    parse_kept_heads,
)

LAYOUT = HeadLayout(
    {
        Site(DECODER_CROSS, 0): 3,
        Site(ENCODER_SELF, 1): 2,
        Site(DECODER_SELF, 0): 3,
        Site(ENCODER_SELF, 0): 2,
    },
    kinds=(ENCODER_SELF, DECODER_SELF, DECODER_CROSS),
)


def test_order_is_by_kind_then_layer_whatever_comes_in():
    assert [str(site) for site in LAYOUT.sites] == [
        "encoder.self.0",
        "encoder.self.1",
        "decoder.self.0",
        "decoder.cross.0",
    ]
    assert LAYOUT.num_heads == 10
    assert LAYOUT.indices(DECODER_CROSS) == [7, 8, 9]
    assert str(LAYOUT) == "10 heads (encoder.self 2+2, decoder.self 3, decoder.cross 3)"


def test_split_gives_every_head_to_one_site():
    parts = LAYOUT.split(torch.arange(10))
    assert torch.equal(torch.cat(list(parts.values())), torch.arange(10))
    assert parts[Site(DECODER_SELF, 0)].tolist() == [4, 5, 6]


def test_mask_and_kept_are_inverse():
    mask = torch.tensor([0, 1, 0, 0, 1, 0, 1, 0, 0, 0.0])
    kept = LAYOUT.kept(mask)
    assert kept[Site(ENCODER_SELF, 0)] == [1]
    assert kept[Site(DECODER_SELF, 0)] == [0, 2]
    assert kept[Site(DECODER_CROSS, 0)] == []
    assert torch.equal(LAYOUT.mask(kept), mask)


def test_a_kind_may_be_absent():
    layout = HeadLayout({Site(ENCODER_SELF, 0): 2, Site(DECODER_SELF, 0): 1})
    assert layout.kinds() == [ENCODER_SELF, DECODER_SELF]
    assert layout.indices(DECODER_CROSS) == []


def test_kept_heads_as_text_and_back():
    kept = LAYOUT.kept(torch.tensor([0, 1, 0, 0, 1, 0, 1, 0, 0, 0.0]))
    text = format_kept_heads(kept)
    assert text == "encoder.self.0=1;decoder.self.0=0,2"
    assert torch.equal(LAYOUT.mask(parse_kept_heads(text, LAYOUT)), LAYOUT.mask(kept))
    assert parse_kept_heads("decoder.self.0=2,0; encoder.self.0=1", LAYOUT) == {
        Site(DECODER_SELF, 0): [2, 0],
        Site(ENCODER_SELF, 0): [1],
    }
    nothing = LAYOUT.kept(torch.zeros(10))
    assert format_kept_heads(nothing) == "none"
    assert parse_kept_heads("none", LAYOUT) == {}
