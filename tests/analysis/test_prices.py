"""What a head costs: the models that are timed, the line through their times, and the file."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
import yaml

from dsp_fairseq.analysis import prices as module
from dsp_fairseq.analysis.prices import LEAST, Measure, Prices, price_heads, slope
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.errors import PruningError
from dsp_fairseq.heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF

KINDS = (ENCODER_SELF, DECODER_SELF, DECODER_CROSS)
TRUE = dict(zip(KINDS, (0.25, 1.0, 1.75), strict=True))
SMALL = Measure(batch_size=3, beam=2, length=6, repeats=3, cpu=True)


def _prices(*seconds: float, heads=(8, 8, 8), rounds=1) -> Prices:
    kinds = dict(zip(KINDS, ([s] * rounds for s in seconds), strict=True))
    return Prices(dict(zip(KINDS, heads, strict=True)), kinds, 1.0, "cpu", 1, Measure())


@pytest.fixture
def clock(monkeypatch):
    """Time in which each open head takes what :data:`TRUE` says, and the rest of a model 5 s.

    The models translate all the same; ``translated`` counts the batches of each set of heads.
    """
    clock = SimpleNamespace(now=0.0, translated=Counter(), hiccup=0.0)
    real = module._translator

    def translator(model, dictionary, measure):
        translate, layout = real(model, dictionary, measure), model.head_gates.layout
        mask = model.head_gates.open_mask()
        heads = {kind: int(mask[layout.indices(kind)].sum()) for kind in layout.kinds()}

        def run(batch):
            translate(batch)
            clock.translated[tuple(heads.values())] += 1
            clock.now += 5.0 + sum(TRUE[kind] * n for kind, n in heads.items()) + clock.hiccup
            clock.hiccup = 0.0

        return run

    monkeypatch.setattr(module, "_translator", translator)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_the_line_goes_through_the_origin():
    assert slope([2, 4], [1.0, 2.0]) == pytest.approx(0.5)
    assert slope([1, 2], [1.0, 1.0]) == pytest.approx(3 / 5)
    assert slope([4], [-2.0]) == -0.5


def test_the_mean_head_costs_one():
    prices = _prices(0.001, 0.003, 0.008, heads=(4, 8, 2))
    assert sum(prices.costs[k] * n for k, n in prices.heads.items()) == pytest.approx(14, rel=1e-3)
    assert prices.costs[DECODER_SELF] / prices.costs[ENCODER_SELF] == pytest.approx(3, rel=1e-3)


def test_a_head_that_costs_less_than_the_noise_still_costs_something():
    prices = _prices(-0.5, 1.0, 2.0)
    assert prices.in_the_noise == [ENCODER_SELF]
    assert prices.costs[ENCODER_SELF] == pytest.approx(LEAST, rel=0.02)
    assert _prices(0.5, 1.0, 2.0).in_the_noise == []


def test_noise_alone_is_refused():
    with pytest.raises(PruningError, match="give more --repeats"):
        _ = _prices(-1.0, 0.0, -0.1).costs


def test_what_no_head_can_save_is_noise():
    assert _prices(-0.5, 0.4, 2.0).in_the_noise == [ENCODER_SELF, DECODER_SELF]
    with pytest.raises(PruningError, match="give more --repeats"):
        _ = _prices(1.729, -11.066, -1.859).costs
    rounds = dict(zip(KINDS, ([-2.0, 0.2, 3.0, 0.1, -1.0], [2.0] * 5, [3.0] * 5), strict=True))
    prices = Prices(dict.fromkeys(KINDS, 8), rounds, 1.0, "cpu", 1, Measure())
    assert (prices.in_the_noise, prices.unsure) == ([], [ENCODER_SELF])
    assert prices.costs[ENCODER_SELF] == pytest.approx(0.1 / 5.1 * 3, rel=1e-3)


def test_quartiles_are_of_the_rounds():
    prices = Prices({ENCODER_SELF: 1}, {ENCODER_SELF: [1.0, 2.0, 3.0, 4.0, 90.0]}, 1.0, "cpu", 1,
                    Measure())  # fmt: skip
    assert prices.seconds == {ENCODER_SELF: 3.0}
    assert prices.spread(ENCODER_SELF) == (2.0, 4.0)
    assert _prices(1.0, 1.0, 1.0).spread(ENCODER_SELF) == (1.0, 1.0)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_file_says_prices_seconds_and_how(as_json):
    text = _prices(0.001, 0.002, 0.003).render(as_json)
    content = json.loads(text) if as_json else yaml.safe_load(text)
    assert content["costs"] == {ENCODER_SELF: 0.5, DECODER_SELF: 1.0, DECODER_CROSS: 1.5}
    assert content["seconds"][DECODER_CROSS] == 0.003
    assert content["measured"]["heads"] == dict.fromkeys(KINDS, 8)
    assert (content["measured"]["beam"], content["measured"]["threads"]) == (5, 1)


def test_known_prices_are_found(checkpoint, clock):
    _, path = checkpoint(6)
    prices = price_heads(path, SMALL)
    assert prices.seconds == pytest.approx(TRUE)
    assert prices.costs == pytest.approx(TRUE, rel=1e-3), "the mean of these is 1"
    assert prices.heads == dict.fromkeys(KINDS, 8)
    assert prices.dense == pytest.approx(5 + 8 * sum(TRUE.values()))
    halves = [(4, 8, 8), (0, 8, 8), (8, 4, 8), (8, 0, 8), (8, 8, 4), (8, 8, 0)]
    assert clock.translated == dict.fromkeys([(8, 8, 8), *halves], SMALL.repeats + 1)


def test_one_slow_round_changes_nothing(checkpoint, clock):
    _, path = checkpoint(24)
    clock.hiccup = 1000.0  # in the warm-up
    assert price_heads(path, SMALL).seconds == pytest.approx(TRUE)
    real, calls = module.time.perf_counter, iter(range(10**6))

    def perf_counter():
        clock.now += 1000.0 * (next(calls) == 21)  # within the first batch of the second round
        return real()

    module.time.perf_counter = perf_counter
    assert price_heads(path, SMALL).seconds == pytest.approx(TRUE)


def test_closed_heads_are_removed_from_what_is_timed(checkpoint, task, batch):
    """Not only masked: gathering the rows of those left costs time that no export spends."""
    model, path = checkpoint(24)
    layout = model.head_gates.layout
    for kind, mask in module._sides(layout):
        pruned = module._with_heads(model, layout, mask)
        for site, heads in layout.kept(mask).items():
            attention = pruned.get_submodule(site.module_name)
            assert (len(attention.present), attention.lacks_heads) == (len(heads), False), kind
        assert pruned.encoder.layers[0].fc1.weight is model.encoder.layers[0].fc1.weight
        gates = build_frozen(model, mask)
        with torch.no_grad():
            assert torch.allclose(pruned(**batch)[0], gates(**batch)[0], atol=1e-5), kind
    with torch.no_grad():
        model.load_state_dict(load_checkpoint(path).weights)
        assert all(len(a.present) == 4 for a in model._attentions.values())


def build_frozen(model, mask):
    """The model with closed heads multiplied by zero."""
    model.eval()
    model.scale_heads(mask)
    return model


def test_a_stock_checkpoint_has_prices(arguments, build_stock, save, clock):
    config = Namespace(**{**vars(arguments()), "arch": "transformer", "_name": "transformer"})
    assert price_heads(save(build_stock(), config), SMALL).costs == pytest.approx(TRUE, rel=1e-3)


def test_what_cannot_be_priced_is_refused(checkpoint, exported):
    _, path = checkpoint(6)
    with pytest.raises(PruningError, match=r"--length 1025: this model takes 1023 tokens"):
        price_heads(path, Measure(length=1025))
    with pytest.raises(PruningError, match="is exported, and lacks heads"):
        price_heads(exported("encoder.self.0=1"), SMALL)
