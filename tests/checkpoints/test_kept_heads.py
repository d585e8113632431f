"""Which heads a checkpoint keeps."""

from __future__ import annotations

import json

import pytest
import torch
from saved_models import printed_heads, read_head_map, stored_config

from dsp_fairseq.analysis.head_plot import render_plot
from dsp_fairseq.errors import PruningError
from dsp_fairseq.heads.layout import DECODER_CROSS, ENCODER_SELF, Site


@pytest.mark.parametrize(
    ("k", "frozen"),
    [(0, False), (1, False), (6, False), (23, False), (24, False), (1, True), (6, True)],
)
def test_the_mask_is_the_one_that_evaluation_uses(gated, save, k, frozen):
    model = gated(k, frozen)
    head_map = read_head_map(save(model))
    assert torch.equal(head_map.mask, model.head_gates.open_mask())
    assert torch.equal(head_map.importance, model.head_gates.importance.detach())
    assert (head_map.budget, head_map.frozen) == (k, frozen)
    assert sum(map(len, head_map.kept.values())) == k
    if k in (0, 24):
        assert head_map.margin is None
    else:
        assert head_map.margin == model.head_gates.statistics()["margin"]


def test_a_frozen_mask_counts_and_not_importance(gated, save):
    model = gated(6, frozen=True)
    moved = read_head_map(save(model, **{"head_gates.importance": torch.arange(24.0)}))
    assert torch.equal(moved.mask, model.head_gates.mask)


def test_ties_go_to_the_lower_head(gated, save):
    path = save(gated(5), **{"head_gates.importance": torch.zeros(24)})
    head_map = read_head_map(path)
    assert head_map.mask.tolist() == [1.0] * 5 + [0.0] * 19
    assert head_map.margin == 0.0


def test_floors_are_kept(gated, save):
    model = gated(4, keep_at_least="decoder.cross=3")
    importance = torch.arange(24.0).flip(0)
    with torch.no_grad():
        model.head_gates.importance.copy_(importance)
    head_map = read_head_map(save(model))
    assert torch.equal(head_map.mask, model.head_gates.open_mask())
    assert head_map.count(DECODER_CROSS) == (3, 8)
    assert head_map.count(ENCODER_SELF) == (1, 8)


def test_ceilings_are_kept_for_any_budget_of_an_unfrozen_checkpoint(gated, save):
    path = save(gated(4, keep_at_most="site=1"))
    for budget in ("3", None, "6"):
        counts = [len(heads) for heads in read_head_map(path, budget).kept.values()]
        assert (max(counts), sum(counts)) == (1, int(budget or 4))
    with pytest.raises(PruningError, match="--keep-at-most site=1 allows 6 heads"):
        read_head_map(path, "7")


@pytest.mark.parametrize("k", [0, 11, "24"])
def test_another_budget_before_the_freeze(gated, save, k):
    model = gated(6)
    head_map = read_head_map(save(model), k)
    assert head_map.budget == head_map.mask.sum() == int(k)
    best = set(model.head_gates.importance.argsort(descending=True)[: int(k)].tolist())
    assert set(head_map.mask.nonzero().flatten().tolist()) == best


def test_the_budget_may_be_named_again_after_the_freeze(gated, save):
    assert read_head_map(save(gated(6, frozen=True)), "6").budget == 6


def test_an_exported_model(exported, capsys):
    path = exported("encoder.self.0=1,3;decoder.cross.1=0")
    head_map = read_head_map(path)
    assert head_map.importance is None and head_map.margin is None
    assert (head_map.frozen, head_map.budget) == (True, 3)
    kept = {site: heads for site, heads in head_map.kept.items() if heads}
    assert kept == {Site(ENCODER_SELF, 0): [1, 3], Site(DECODER_CROSS, 1): [0]}
    text = printed_heads(capsys, path)
    assert "encoder.self: 2 of 8 heads kept" in text
    assert [line.split() for line in text.splitlines()][2] == ["0", ".", "[x]", ".", "[x]", "2"]
    assert text.splitlines()[-1] == "3 of 24 heads kept, in [brackets]; frozen"
    assert json.loads(printed_heads(capsys, path, "--json", "-"))["sites"][0] == {
        "kind": ENCODER_SELF,
        "layer": 0,
        "kept": [1, 3],
        "importance": None,
    }
    assert render_plot(head_map, ".png")


def test_an_exported_model_may_keep_nothing(exported):
    assert read_head_map(exported("none")).budget == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder.self.0", "not of the form"),
        ("encoder.self.0=", "not of the form"),
        ("encoder.self.0=1,x", "not of the form"),
        ("encoder.self.9=1", "encoder.self.9, which is not one of this model"),
        ("encoder.self.0=1;encoder.self.0=2", "encoder.self.0 twice"),
        ("encoder.self.0=4", "has 4 heads, each to be named once"),
        ("encoder.self.0=1,1", "has 4 heads, each to be named once"),
    ],
)
def test_damaged_kept_heads(exported, text, message):
    with pytest.raises(PruningError, match=message):
        read_head_map(exported(text))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"importance": torch.zeros(23)}, "importance for 23 heads, but its model has 24 heads"),
        ({"importance": torch.full((24,), float("nan"))}, "not finite"),
        ({"mask": None}, "head_gates.mask or .frozen is missing or invalid"),
        ({"mask": torch.zeros(23)}, "head_gates.mask or .frozen is missing or invalid"),
        ({"frozen": None}, "head_gates.mask or .frozen is missing or invalid"),
        ({"frozen": torch.tensor(1.0), "mask": torch.full((24,), 0.5)}, "averaged"),
    ],
)
def test_damaged_gates(gated, save, weights, message):
    path = save(gated(), **{f"head_gates.{name}": value for name, value in weights.items()})
    with pytest.raises(PruningError, match=message):
        read_head_map(path)


def test_budgets_that_this_model_cannot_have(gated, save, exported):
    with pytest.raises(PruningError, match="frozen at 6 heads, but --num-of-heads is 7"):
        read_head_map(save(gated(6, frozen=True)), "7")
    with pytest.raises(PruningError, match="frozen at 1 heads, but --num-of-heads is 2"):
        read_head_map(exported("encoder.self.0=1"), 2)
    model = gated(6, keep_at_least="decoder.cross=3,encoder.self=2")
    with pytest.raises(PruningError, match="4 is below the 5 heads"):
        read_head_map(save(model), 4)
    with pytest.raises(PruningError, match="--num-of-heads is missing"):
        read_head_map(save(gated(), stored_config(model, num_of_heads=None)))


def test_a_dense_model_does_not_say_which_heads_to_keep(gated, save):
    path = save(gated(24))
    assert read_head_map(path).budget == 24
    with pytest.raises(
        PruningError, match="trained with 24 heads, so nothing says which to keep: rank"
    ):
        read_head_map(path, 6)
