"""The order of tokens in fairseq, and the names of layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.imports.names import LAYER, SPECIAL, layer_names, token_order


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_tokens_are_where_fairseq_has_them(kind):
    start, pad, end, unknown, mask = SPECIAL[kind]
    vocabulary = ["a", mask, end, "b", pad, unknown, start, "c"]
    order = token_order(kind, vocabulary, Path("m"))
    assert [vocabulary[number] for number in order] == [
        start, pad, end, unknown, "a", "b", "c", mask,
    ]  # fmt: skip


def test_a_vocabulary_without_a_special_token():
    with pytest.raises(PruningError, match=r"the vocabulary of m lacks \[PAD\], \[MASK\]"):
        token_order("bert", ["[CLS]", "[SEP]", "[UNK]", "a"], Path("m"))


def test_every_part_of_a_layer_has_two_names():
    names = list(layer_names(2))
    assert len(names) == len(dict(names)) == len({ours for _, ours in names}) == 1 + 2 * len(LAYER)
