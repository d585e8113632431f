"""What the flags say, parsed and checked."""

from __future__ import annotations

import logging

import pytest

from dsp_fairseq.errors import CommandExit
from dsp_fairseq.estimators import ESTIMATORS, Estimator, HardConcrete, Option

PRICED = {
    "num_of_heads": None,
    "head_costs": "encoder.self=1,decoder.self=4,decoder.cross=2.5",
    "cost_budget": "9",
}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_of_heads": None}, "--num-of-heads is missing: give a whole number from 0 to 24"),
        ({"num_of_heads": "-1"}, "--num-of-heads -1 is not a whole number from 0 to 24"),
        ({"num_of_heads": "25"}, "--num-of-heads 25 is not a whole number from 0 to 24"),
        ({"num_of_heads": "abc"}, "--num-of-heads 'abc' is not a whole number"),
        ({"num_of_heads": "12.5"}, "--num-of-heads '12.5' is not a whole number"),
        ({"initial_temperature": 0.0}, "--initial-temperature 0 must be a positive number"),
        ({"final_temperature": -1.0}, "--final-temperature -1 must be a positive number"),
        ({"initial_temperature": float("inf")}, "--initial-temperature inf must be"),
        ({"final_temperature": float("nan")}, "--final-temperature nan must be"),
        ({"final_temperature": 0.9}, "the temperature may only fall"),
        ({"cooldown_steps": -1}, "--cooldown-steps -1 must not be negative"),
        ({"freeze_heads_after": -5}, "--freeze-heads-after -5 must not be negative"),
        ({"gates_after": -1}, "--gates-after -1 must not be negative"),
        ({"gates_after": 10}, "--gates-after 10 must be before the freeze, which is after 10"),
        ({"gates_after": 3, "pruning_mode": "pipelined"}, "starts from one: leave it out"),
        ({"gates_after": 3, "gate_estimator": "random"}, "random fixes its heads at the start"),
        (
            {"gate_estimator": "magic"},
            "random: choose one, or give the package that has it by --user-dir",
        ),
        ({"keep_at_least": "decoder.cross"}, "--keep-at-least 'decoder.cross': write NAME=COUNT"),
        ({"keep_at_least": "middle=1"}, "with NAME one of encoder.self"),
        ({"keep_at_least": "decoder.self=9"}, "the model has 8 decoder.self heads"),
        ({"keep_at_most": "site=0"}, "--keep-at-most site=0 allows 0 heads, and --num-of-heads is"),
        ({"keep_at_least": "decoder.self=5,encoder.self=5"}, "asks for more heads than"),
        ({"cost_budget": "9"}, "are two budgets: give one"),
        ({**PRICED, "num_of_heads": "6"}, "are two budgets: give one"),
        ({**PRICED, "cost_budget": None}, "--head-costs needs a budget"),
        ({**PRICED, "cost_budget": "61"}, "--cost-budget 61 is not a number from 0 to 60"),
        (
            {**PRICED, "gate_estimator": "ste"},
            "ste counts heads and cannot keep to a --cost-budget",
        ),
        ({**PRICED, "keep_at_least": "decoder.self=3"}, "9 is below the 12 that these heads cost"),
        ({"quant_noise_pq": 0.1}, "--quant-noise-pq is not supported"),
        ({"quant_noise_scalar": 0.1}, "--quant-noise-scalar is not supported"),
        ({"encoder_xformers_att_config": "{}"}, "--encoder-xformers-att-config is not supported"),
        ({"cross_self_attention": True}, "--cross-self-attention is not supported"),
        ({"encoder_layers_to_keep": "0,1"}, "--encoder-layers-to-keep is not supported"),
        ({"store_ema": True}, "--store-ema is not supported"),
        ({"optimizer": "adam"}, "use --optimizer dsp_adam"),
        ({"fp16": True}, "add --fp16-no-flatten-grads"),
        ({"ddp_backend": "fully_sharded"}, "--ddp-backend fully_sharded is not supported"),
    ],
)
def test_mistakes_are_named(build, flags, message):
    with pytest.raises(CommandExit) as error:
        build(**{"num_of_heads": 6, **flags})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cooldown_steps": 200, "freeze_heads_after": 10}, "will not reach --final-temperature"),
        ({"cooldown_steps": 10, "freeze_heads_after": 100}, "will not be frozen during this"),
    ],
)
def test_a_schedule_beyond_the_training_warns_once(build, batch, caplog, flags, message):
    with caplog.at_level(logging.WARNING, "dsp_fairseq"):
        model = build(6, max_update=100, **flags).eval()
        model(**batch)
        assert not caplog.text, "generation should not be told"
        for _ in range(2):
            model.train()(**batch)
    assert caplog.text.count(message) == 1


def test_a_fitting_schedule_does_not_warn(build, batch, caplog):
    with caplog.at_level(logging.WARNING, "dsp_fairseq"):
        build(6, max_update=100, cooldown_steps=50).train()(**batch)
        build(24, max_update=100, cooldown_steps=500).train()(**batch)
    assert not caplog.text


def test_an_option_that_is_a_flag_of_fairseqs_is_refused_without_a_parser(build, monkeypatch):
    options = (Option("dropout", 1.0, "what it does"),)
    monkeypatch.setitem(ESTIMATORS, "own", type("Own", (Estimator,), {"options": options}))
    with pytest.raises(CommandExit, match="estimator own has an option dropout"):
        build(6)


def test_an_estimator_takes_an_option_that_it_inherits(build, monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "own", type("Own", (HardConcrete,), {}))
    plan = build(6, gate_estimator="own", l0_penalty=0.5).head_gates.plan
    assert plan.estimator.l0_penalty == 0.5
    with pytest.raises(CommandExit, match="belongs to --gate-estimator hard-concrete or own, not"):
        build(6, gate_estimator="ste", l0_penalty=0.5)
