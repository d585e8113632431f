"""HeadGates: exactly K, a pure function of (seed, update), and an end to learning."""

from __future__ import annotations

import logging

import pytest
import torch

from dsp_fairseq.errors import CommandExit
from dsp_fairseq.pruning.hooks import Stage


def _open_heads(model) -> int:
    return sum(a.num_heads if a._kept is None else len(a._kept) for a in model._attentions.values())


@pytest.mark.parametrize("k", [0, 1, 7, 23, 24])
@pytest.mark.parametrize("ties", [True, False])
def test_exactly_k_heads_are_open_before_and_after_the_freeze(build, batch, k, ties):
    model = build(k, freeze_heads_after=2)
    if not ties:
        torch.nn.init.normal_(model.head_gates.importance)
    for update in range(4):
        model.train()
        model.set_num_updates(update)
        model(**batch)
        model.eval()
        model(**batch)
        assert model.head_gates.open_mask().sum() == k
        assert _open_heads(model) == k
    assert model.head_gates.is_frozen == (not model.head_gates.is_constant)


def test_gates_depend_on_seed_and_update_only(build):
    a, b, other = build(6, gate_seed=3), build(6, seed=3), build(6, seed=4)
    for update in (0, 5):
        for model in (a, b, other):
            model.set_num_updates(update)
        assert torch.equal(a.head_gates(), b.head_gates())
        assert torch.equal(a.head_gates(), a.head_gates())
        assert not torch.equal(a.head_gates(), other.head_gates())
    gates_at_5 = a.head_gates()
    a.set_num_updates(0)
    assert not torch.equal(a.head_gates(), gates_at_5)


def test_evaluation_is_deterministic_and_without_noise(build, batch):
    model = build(6).eval()
    first = model(**batch)[0]
    model.set_num_updates(5)
    assert torch.equal(first, model(**batch)[0])


@pytest.mark.parametrize("k", [0, 24])
def test_a_budget_without_choice_draws_nothing(build, batch, k):
    model = build(k)
    model.train()
    before = torch.get_rng_state()
    model(**batch)[0].sum().backward()
    assert torch.equal(before, torch.get_rng_state())
    assert model.head_gates.importance.grad is None


def test_negligible_gates_are_exactly_zero_and_keep_their_gradient(build):
    model = build(6, initial_temperature=0.03, final_temperature=0.03)
    torch.nn.init.normal_(model.head_gates.importance)
    gates = model.head_gates()
    assert ((gates == 0) | (gates >= 1e-12)).all()
    assert (gates == 0).any()
    (gates * torch.randn(24)).sum().backward()
    assert (model.head_gates.importance.grad[gates == 0] != 0).any()


def test_freeze_fixes_the_mask_and_says_when_the_set_last_changed(build, batch, caplog):
    model = build(6, freeze_heads_after=3)
    gates = model.head_gates
    model.train()
    with caplog.at_level(logging.INFO, "dsp_fairseq"):
        for update, favourite in enumerate([0, 20, 20, 20, 3]):
            with torch.no_grad():
                gates.importance[favourite] += 1.0
            model.set_num_updates(update)
            model(**batch)
    assert gates.is_frozen
    assert gates.mask[20] == 1
    assert gates.open_mask().sum() == 6
    assert "froze 6 of 24 heads at update 3 (that set last changed at update 1)" in caplog.text
    frozen = gates.mask.clone()
    with torch.no_grad():
        gates.importance.uniform_()
    model(**batch)
    model.eval()
    assert torch.equal(gates.open_mask(), frozen)


def test_no_gradient_reaches_importance_after_the_freeze(build, batch):
    model = build(6, freeze_heads_after=0)
    model.train()
    model(**batch)[0].sum().backward()
    assert model.head_gates.importance.grad is None
    assert model.head_gates.importance.requires_grad


def test_update_numbers_alone_freeze_nothing(build):
    # fairseq sets the number of a dense checkpoint before it loads one to fine-tune.
    model = build(6, freeze_heads_after=3)
    model.set_num_updates(100)
    assert not model.head_gates.is_frozen
    model.eval()
    assert not model.head_gates.is_frozen


def test_state_survives_a_checkpoint(build, batch):
    model = build(6, freeze_heads_after=1)
    torch.nn.init.normal_(model.head_gates.importance)
    model.train()
    model.set_num_updates(1)
    model(**batch)
    copy = build(6, freeze_heads_after=1)
    copy.load_state_dict(model.state_dict())
    assert copy.head_gates.is_frozen
    assert torch.equal(copy.eval()(**batch)[0], model.eval()(**batch)[0])


def test_an_unfrozen_checkpoint_evaluates_with_the_top_k_and_says_so(build, batch, caplog):
    model = build(6)
    torch.nn.init.normal_(model.head_gates.importance)
    copy = build(6)
    with caplog.at_level(logging.INFO, "dsp_fairseq"):
        copy.load_state_dict(model.state_dict())
    assert "not frozen: evaluation uses the top 6 heads by importance" in caplog.text
    assert torch.equal(copy.eval()(**batch)[0], model.eval()(**batch)[0])


def test_a_frozen_checkpoint_refuses_another_budget(build, batch):
    model = build(6, freeze_heads_after=0)
    model.train()
    model(**batch)
    with pytest.raises(CommandExit, match="frozen at 6 heads, but --num-of-heads is 7"):
        build(7).load_state_dict(model.state_dict())


def test_a_checkpoint_with_all_heads_has_no_order_of_them(build, batch):
    for trained in (24, 0):
        weights = build(trained).state_dict()
        other = build(6)
        other.load_state_dict(weights)
        with pytest.raises(CommandExit, match=f"trained with {trained} heads, so nothing says"):
            other.eval()
        other.train()
        other(**batch)
        assert _open_heads(other.eval()) == 6, "a training learns which"
    assert _open_heads(build(6).eval()) == 6
    prices = "encoder.self=1,decoder.self=2,decoder.cross=2"
    priced = build(None, head_costs=prices, cost_budget="9")
    priced.load_state_dict(build(24).state_dict())
    with pytest.raises(CommandExit, match="trained with 24 heads, so nothing says"):
        priced.eval()
    several = build("24,6")
    several.load_state_dict(build("24,6").state_dict())
    assert _open_heads(several.eval()) == 24


def test_what_was_loaded_last_says_what_is_known(build, batch):
    frozen = build(6, freeze_heads_after=0)
    frozen.train()(**batch)
    model = build(6)
    model.load_state_dict(build(24).state_dict())
    model.load_state_dict(frozen.state_dict())
    assert _open_heads(model.eval()) == 6


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"pruning_mode": "pipelined"}, "--pruning-mode pipelined changes nothing"),
        ({"gates_after": 1}, "--gates-after changes nothing"),
        (
            {"pruning_mode": "pipelined", "finetune_updates": 3, "repair_batches": 1},
            "pipelined, --finetune-updates, --repair-batches change nothing",
        ),
        ({"keep_at_least": "site=1", "keep_at_most": "site=3"}, "--keep-at-most changes nothing"),
        ({"keep_at_most": "site=6"}, None),
    ],
)
def test_flags_that_come_too_late_for_frozen_heads(build, batch, caplog, flags, said):
    ranked = build(12)
    ranked.head_gates.adopt(torch.arange(24.0))
    model = build(12, cooldown_steps=4, freeze_heads_after=4, **flags)
    model.load_state_dict(ranked.state_dict())
    with caplog.at_level(logging.WARNING, "dsp_fairseq"):
        model.train()(**batch)
        model(**batch)
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == bool(said)
    assert not said or said in warnings[0]


def test_heads_are_not_frozen_before_an_order_of_them_is_learned(build, batch):
    late = build(6, freeze_heads_after=5)
    late.load_state_dict(build(24).state_dict())
    late.train()
    late.set_num_updates(8)
    with pytest.raises(CommandExit, match="freeze is after 5 updates, and it has 8: start from it"):
        late(**batch)


def test_a_training_for_one_budget_no_longer_serves_the_others(build, batch):
    many = build("6,12", freeze_heads_after=0)
    many.train()
    many(**batch)
    one = build(6, freeze_heads_after=0)
    one.load_state_dict(many.state_dict())
    build(12).load_state_dict(one.state_dict())
    one.train()
    one(**batch)
    with pytest.raises(CommandExit, match="frozen at 6 heads, but --num-of-heads is 12"):
        build(12).load_state_dict(one.state_dict())


def test_a_random_set_is_random_wherever_it_starts(build, batch):
    learned = build(6)
    with torch.no_grad():
        learned.head_gates.importance[-6:] += 9.0
    own = build(6, gate_estimator="random", finetune_from_model="x.pt")
    drawn = own.head_gates.importance.detach().clone()
    own._stage = Stage.CHECKED
    own.load_state_dict(learned.state_dict())
    assert torch.equal(own.head_gates.importance, drawn)


def test_who_generates_does_not_start_a_training(build):
    other = build(12, finetune_from_model="dense.pt")
    other.load_state_dict(build(24).state_dict())
    with pytest.raises(CommandExit, match="trained with 24 heads, so nothing says"):
        other.eval()


def test_floors_hold_in_evaluation(build):
    model = build(4, keep_at_least="decoder.cross=2,decoder.self=1").eval()
    with torch.no_grad():
        model.head_gates.importance.copy_(-torch.arange(24.0))
    statistics = model.head_gates.statistics()
    assert statistics["heads_decoder_cross"] == 2
    assert statistics["heads_decoder_self"] == 1
    assert statistics["heads_encoder_self"] == 1


def test_ceilings_hold_in_evaluation_and_after_the_freeze(build, batch):
    model = build(5, keep_at_most="site=1,decoder.cross=1", freeze_heads_after=0)
    gates = model.head_gates
    with torch.no_grad():
        gates.importance.copy_(torch.arange(24.0))
    before = gates.open_mask().clone()
    model.train()
    model(**batch)
    assert gates.is_frozen
    assert torch.equal(gates.mask, before)
    kept = gates.layout.kept(gates.mask)
    assert max(map(len, kept.values())) == 1
    assert sum(len(heads) for site, heads in kept.items() if site.kind == "decoder.cross") == 1


def test_statistics_name_what_a_person_wants_to_watch(build, batch):
    model = build(6)
    with torch.no_grad():
        model.head_gates.importance.copy_(torch.arange(24.0))
    model.train()
    model.set_num_updates(5)
    model(**batch)
    values = {name: float(value) for name, value in model.head_gates.statistics().items()}
    assert values["gate_sum"] == pytest.approx(6, abs=1e-4)
    assert values["temperature"] == pytest.approx((0.5 * 0.1) ** 0.5)
    assert values["margin"] == 1
    assert values["frozen"] == 0
    assert 0 < values["gate_softness"] < 0.5
    kept = [values[f"heads_{kind}"] for kind in ("encoder_self", "decoder_self", "decoder_cross")]
    assert kept == [0, 0, 6]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_reach_importance(build, dtype):
    model = build(6)
    with torch.no_grad():
        model.head_gates.importance.copy_(1.0 + 1e-5 * torch.randperm(24))
    mask = model.head_gates.open_mask()
    model.to(dtype)
    assert model.head_gates.importance.dtype == torch.float32
    assert model.encoder.layers[0].fc1.weight.dtype == dtype
    assert torch.equal(model.head_gates.open_mask(), mask)


# ---- pipelined, several budgets, noise and penalties


def test_several_budgets_are_drawn_per_update_and_their_sets_are_nested(build, batch):
    model = build("4,9,24", freeze_heads_after=10)
    torch.nn.init.normal_(model.head_gates.importance)
    model.train()
    seen, masks = set(), {}
    for update in range(40):
        model.set_num_updates(update)
        model(**batch)
        budget = model.head_gates.update_budget
        seen.add(budget)
        assert model.head_gates.statistics()["gate_sum"] == pytest.approx(budget, abs=1e-4)
        if update >= 10:
            masks[budget] = model.head_gates.open_mask()
            assert _open_heads(model) == budget
    assert seen == {4, 9, 24}
    assert (masks[4] <= masks[9]).all() and (masks[9] <= masks[24]).all()
    assert torch.equal(model.eval().head_gates.open_mask(), masks[4])


def test_a_frozen_order_serves_each_budget_that_was_trained(build, batch):
    model = build("4,9", freeze_heads_after=0)
    torch.nn.init.normal_(model.head_gates.importance)
    model.train()(**batch)
    for budget in (9, 4):
        one = build(budget)
        one.load_state_dict(model.state_dict())
        assert one.head_gates.is_frozen
        assert one.eval().head_gates.open_mask().sum() == budget
    with pytest.raises(CommandExit, match="frozen at 4 and 9 heads, but --num-of-heads is 5"):
        build(5).load_state_dict(model.state_dict())


def test_noise_falls_to_its_final_scale(build):
    model = build(6, initial_noise=2.0, final_noise=0.0, gate_estimator="sigmoid")
    spread = []
    for update in (0, 5, 10):
        model.set_num_updates(update)
        spread.append(float(model.head_gates._noise().std()))
    assert spread[0] > spread[1] > spread[2] == 0


def test_penalties_grow_until_the_freeze_and_end_there(build, batch):
    model = build(6, gate_estimator="pass", freeze_heads_after=4, concentrator=0.1)
    model.train()
    weights = []
    for update in range(5):
        model.set_num_updates(update)
        model(**batch)
        penalty = model.head_gates.penalty()
        weights.append(None if penalty is None else float(penalty))
    assert weights[:4] == sorted(weights[:4])
    assert weights[4] is None


def test_the_control_keeps_a_random_set_from_the_start(build, batch):
    kept = []
    for seed in (1, 2):
        model = build(6, gate_estimator="random", gate_seed=seed)
        model.train()(**batch)
        assert model.head_gates.is_frozen
        kept.append(model.head_gates.mask.clone())
        assert kept[-1].sum() == 6
    assert not torch.equal(*kept)


@pytest.mark.parametrize("mode", ["joint", "pipelined"])
@pytest.mark.parametrize("budgets", ["9,4,2", "24,4", "4,24", "0,4", "4,0,24", "0,24", "24,0"])
def test_budgets_in_any_order_train_freeze_load_and_generate(build, batch, budgets, mode):
    model = build(budgets, pruning_mode=mode, freeze_heads_after=6)
    torch.nn.init.normal_(model.head_gates.importance)
    model.load_state_dict(model.state_dict())
    wanted = {int(budget) for budget in budgets.split(",")}
    seen = set()
    for update in range(30):
        model.train()
        model.set_num_updates(update)
        model(**batch)[0].pow(2).sum().backward()
        statistics = model.head_gates.statistics()
        assert statistics["margin"] >= 0
        seen.add(model.head_gates.update_budget)
        if not model.head_gates.is_sampling:
            assert _open_heads(model) == model.head_gates.update_budget
    assert seen == wanted
    first = int(budgets.split(",")[0])
    copy = build(budgets, pruning_mode=mode)
    copy.load_state_dict(model.state_dict())
    # As fairseq-generate does it, which leaves the model in training until afterwards.
    copy.train()
    for update in range(30):
        copy.set_num_updates(update)
        if copy.head_gates.update_budget != first:
            break
    copy.make_generation_fast_()
    copy.eval()
    assert _open_heads(copy) == first
    copy(**batch)


# ---- all heads first


def test_all_heads_are_trained_alike_before_importance_learns(build, batch):
    flags = {"gates_after": 4, "gate_estimator": "pass", "freeze_heads_after": 8}
    model, dense = build(6, **flags), build(24)
    dense.load_state_dict({**model.state_dict(), "head_gates.budgets": dense.head_gates.budgets})
    for update in range(5):
        for each in (model, dense):
            each.eval()(**batch)
            each.train()
            each.set_num_updates(update)
            each.zero_grad()
        model(**batch)[0].pow(2).sum().backward()
        waiting = update < 4
        assert model.head_gates.is_waiting == waiting
        assert (model.head_gates.penalty() is None) == waiting
        assert (model.head_gates.importance.grad is None) == waiting
        assert model.head_gates.optimizer_state.learns != waiting
        assert (model.head_gates.statistics()["gate_sum"] == 24) == waiting
        if waiting:
            dense(**batch)[0].pow(2).sum().backward()
            for (name, ours), theirs in zip(
                model.named_parameters(), dense.parameters(), strict=True
            ):
                assert ours.grad is theirs.grad or torch.equal(ours.grad, theirs.grad), name


def test_temperature_and_noise_fall_from_then_on(build):
    gates = build(6, gates_after=4, cooldown_steps=10).head_gates
    temperatures, spread = [], []
    for update in (4, 7, 10):
        gates.set_num_updates(update)
        temperatures.append(gates.temperature)
        spread.append(float(gates._noise().std()))
    assert temperatures == pytest.approx([0.5, (0.5 * 0.1) ** 0.5, 0.1])
    assert spread[0] > spread[1] > spread[2] == 0


def test_the_log_has_the_margin_of_each_budget(build):
    gates = build("6,12").head_gates
    with torch.no_grad():
        gates.importance.copy_(torch.arange(24.0) ** 2)
    values = gates.statistics()
    ranked = gates.importance.sort(descending=True).values
    assert values["margin"] == ranked[5] - ranked[6]
    assert values["margin_12"] == ranked[11] - ranked[12]
    assert "margin_6" not in values


def test_several_budgets_wait_alike(build, batch):
    model = build("6,12,24", gates_after=4, freeze_heads_after=8).train()
    sums = []
    for update in range(12):
        model.set_num_updates(update)
        model(**batch)
        sums.append(round(float(model.head_gates.statistics()["gate_sum"]), 3))
    assert sums[:4] == [24] * 4
    assert set(sums[4:]) == {6, 12, 24}


PRICES = "encoder.self=0.5,decoder.self=4,decoder.cross=2.5"


@pytest.mark.parametrize("limit", ["4", "9.5", "27"])
@pytest.mark.parametrize(
    "limits", [{}, {"keep_at_least": "decoder.cross=1", "keep_at_most": "site=2"}]
)
def test_heads_never_cost_more_than_the_budget(build, batch, limit, limits):
    flags = {"num_of_heads": None, "head_costs": PRICES, "cost_budget": limit, **limits}
    model = build(**flags).train()
    gates, budget = model.head_gates, model.head_gates.plan.budget
    with torch.no_grad():
        gates.importance.normal_()
    model.set_num_updates(3)
    model(**batch)
    relaxed = gates()
    spent = (relaxed.double() * budget.units).sum()
    assert spent.item() == pytest.approx(budget.limit_in_units, rel=1e-5)
    assert not gates.is_frozen
    before = gates.open_mask()
    assert gates.statistics()["head_cost"] == float(budget.cost_of(before))
    model.set_num_updates(10)
    model(**batch)
    assert gates.is_frozen and gates.mask.equal(before)
    assert gates.budgets.nonzero().flatten().tolist() == [int(before.sum())]
    assert budget.cost_of(gates.mask) <= budget.limit
    if not limits:
        assert budget.limit - budget.cost_of(gates.mask) < 4
    again = build(**flags)
    again.load_state_dict(model.state_dict())
    assert again.eval().head_gates.open_mask().equal(gates.mask)
    with pytest.raises(CommandExit, match="would keep others: give the --head-costs"):
        build(**{**flags, "cost_budget": "24", "keep_at_most": ""}).load_state_dict(
            model.state_dict()
        )


@pytest.mark.parametrize(("limit", "k"), [("0", 0), ("56", 24)])
def test_a_cost_that_leaves_no_choice_draws_nothing(build, batch, limit, k):
    model = build(num_of_heads=None, head_costs=PRICES, cost_budget=limit).train()
    model(**batch)
    assert model.head_gates.is_constant and not model.head_gates.is_sampling
    assert model.head_gates.open_mask().sum() == k
    assert model.head_gates.budgets.nonzero().flatten().tolist() == [k]


def test_equal_prices_train_as_a_count_does(build, batch):
    """Gates and gradients; the mask is the same set."""
    alike = "encoder.self=3,decoder.self=3,decoder.cross=3"
    found = []
    for flags in (
        {"num_of_heads": 6},
        {"num_of_heads": None, "head_costs": alike, "cost_budget": 18},
    ):
        model = build(**flags, gate_seed=3).train()
        with torch.no_grad():
            model.head_gates.importance.copy_(torch.linspace(-1, 1, 24).sin())
        model.set_num_updates(4)
        model(**batch)
        gates = model.head_gates()
        (gates * torch.arange(24.0)).sum().backward()
        found.append((gates.detach(), model.head_gates.importance.grad, model.head_gates.mask))
    for counted, priced in zip(*found, strict=True):
        torch.testing.assert_close(priced, counted, rtol=1e-5, atol=1e-7)
