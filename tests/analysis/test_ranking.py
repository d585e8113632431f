"""Heads scored without training: gradients, norms, the order, and the checkpoint made of them."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from dsp_fairseq.analysis.ranking import (
    frozen_state,
    gate_gradients,
    importance_of,
    normalise_per_site,
    rank_heads,
    weight_norms,
)
from dsp_fairseq.errors import PruningError
from dsp_fairseq.estimators import top_k_mask

N = 24


@pytest.fixture
def criterion():
    """Label-smoothed cross-entropy, as far as scoring asks for it."""

    def loss_of(model, sample):
        logits, _ = model(**sample["net_input"])
        loss, _ = label_smoothed_nll_loss(
            logits.log_softmax(-1).flatten(0, 1), sample["target"].flatten(), 0.1, ignore_index=1
        )
        return loss, 1, {}

    return loss_of


@pytest.fixture
def samples(batch):
    """Two batches: sentence pairs 0 and 1, and pair 2."""
    target = torch.randint(4, 24, batch["prev_output_tokens"].shape)
    return [
        {"net_input": {k: v[rows] for k, v in batch.items()}, "target": target[rows]}
        for rows in ([0, 1], [2])
    ]


def _close(model, site, head):
    """Makes a head useless: its output reaches nothing."""
    attention = model.get_submodule(site.module_name)
    columns = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    with torch.no_grad():
        attention.out_proj.weight[:, columns] = 0.0


def test_gradients_are_those_of_finite_differences(build, samples, criterion):
    model = build(24, dropout=0.5).double()
    half = torch.ones(N)
    half[[1, 7, 20]] = 0.0
    for open_heads in (torch.ones(N), half):
        found = gate_gradients(model, criterion, samples, open_heads)
        expected = torch.zeros(N, dtype=torch.float64)
        step = 1e-6
        for sample in samples:
            for head in open_heads.nonzero().flatten().tolist():
                losses = []
                for sign in (1, -1):
                    gates = open_heads.double()
                    gates[head] += sign * step
                    model.scale_heads(gates)
                    with torch.no_grad():
                        losses.append(criterion(model, sample)[0])
                expected[head] += ((losses[0] - losses[1]) / (2 * step)).abs()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        assert (found[open_heads == 0] == 0).all()
        assert (found > 0).sum() == open_heads.sum()


def test_gradients_leave_the_model_as_it_was(build, samples, criterion):
    model = build(6).eval()
    with torch.no_grad():
        before = model(**samples[0]["net_input"])[0]
    first = gate_gradients(model, criterion, samples, torch.ones(N))
    assert torch.equal(first, gate_gradients(model, criterion, samples, torch.ones(N)))
    with torch.no_grad():
        assert torch.equal(model(**samples[0]["net_input"])[0], before)


def test_a_useless_head_has_the_lowest_score(build, samples, criterion):
    model = build(24)
    layout = model.head_gates.layout
    site = layout.sites[3]
    _close(model, site, 2)
    scores = normalise_per_site(gate_gradients(model, criterion, samples, torch.ones(N)), layout)
    assert scores.argmin() == layout.slice(site).start + 2


def test_weight_norms(build):
    model = build(24)
    layout = model.head_gates.layout
    site = layout.sites[-1]
    attention = model.get_submodule(site.module_name)
    d = attention.head_dim
    rows = slice(d, 2 * d)
    parts = [getattr(attention, f"{name}_proj").weight[rows].detach() for name in "qkv"]
    parts.append(attention.out_proj.weight[:, rows].detach())
    expected = sum(part.double().pow(2).sum() for part in parts).sqrt()
    index = layout.slice(site).start + 1
    assert float(weight_norms(model)[index]) == pytest.approx(float(expected))


def test_sites_are_normalised_and_ties_broken(build):
    layout = build(24).head_gates.layout
    scores = torch.rand(N, dtype=torch.float64)
    norms = [part.norm() for part in layout.split(normalise_per_site(scores, layout)).values()]
    torch.testing.assert_close(torch.stack(norms), torch.ones(6, dtype=torch.float64))
    alone = torch.zeros(N, dtype=torch.float64)
    alone[::4] = torch.tensor([3.0, 6.0, 1.0, 5.0, 2.0, 4.0])
    assert rank_heads(lambda _: normalise_per_site(alone, layout), N, 6)[:6].tolist() == [
        *(4, 12, 20, 0, 16, 8)
    ]
    assert not normalise_per_site(torch.zeros(N), layout).any()
    with pytest.raises(PruningError, match="not finite"):
        normalise_per_site(scores.clone().fill_(torch.nan), layout)


@pytest.mark.parametrize("step", [None, 1, 3, 5, 30])
@pytest.mark.parametrize("budget", [0, 1, 7, 23, 24])
def test_the_order_is_that_of_closing(step, budget):
    generator = torch.Generator().manual_seed(1)
    asked = []

    def score(left):
        asked.append(left.clone())
        return torch.rand(N, generator=generator, dtype=torch.float64)

    order = rank_heads(score, N, budget, step=step)
    assert sorted(order.tolist()) == list(range(N))
    sizes = [int(left.sum()) for left in asked]
    assert sizes == ([N] if step is None else list(range(N, budget, -step)) or [N])
    importance = importance_of(order)
    # What was open at each scoring is the top of the order: sets of any size are nested.
    for left in asked:
        assert torch.equal(top_k_mask(importance, int(left.sum())), left)
    assert set(top_k_mask(importance, budget).nonzero().flatten().tolist()) == set(
        order[:budget].tolist()
    )


def test_one_scoring_is_plain_sorting():
    scores = torch.rand(N, dtype=torch.float64)
    order = rank_heads(lambda _: scores, N, 9)
    assert order.tolist() == scores.argsort(descending=True).tolist()
    assert order.tolist() == rank_heads(lambda _: scores, N, 9, step=4).tolist()


def test_floors_hold_at_every_step():
    scores = torch.arange(N, 0, -1, dtype=torch.float64)  # the last heads are the worst
    floors = (((20, 21, 22, 23), 2),)
    order = rank_heads(lambda _: scores, N, 5, floors, step=4)
    assert set(order[:5].tolist()) == {0, 1, 2, 20, 21}
    mask = top_k_mask(importance_of(order), 5, floors)
    assert mask.nonzero().flatten().tolist() == [0, 1, 2, 20, 21]


def test_adopted_importance_is_frozen(build, batch):
    model = build(6)
    order = torch.randperm(N)
    model.head_gates.adopt(importance_of(order))
    assert model.head_gates.is_frozen
    assert set(model.head_gates.mask.nonzero().flatten().tolist()) == set(order[:6].tolist())
    restored = build(6)
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored.head_gates.open_mask(), model.head_gates.mask)
    with torch.no_grad():
        assert torch.equal(restored.eval()(**batch)[0], model.eval()(**batch)[0])


def _state(arguments, **config):
    return {
        "args": None,
        "cfg": {"model": arguments, "criterion": {}, "optimizer": {"_name": "adam"}, **config},
        "model": {},
        "extra_state": {"best": 3.0, "train_iterator": {"epoch": 2}},
    }


def test_a_stock_config_becomes_a_gated_one(arguments, tmp_path, task, build_stock):
    stock = {
        **vars(arguments()),
        "arch": "transformer_iwslt_de_en",
        "optimizer": "adam",
        "fp16": True,
        "ddp_backend": "pytorch_ddp",
        "distributed_world_size": 8,
    }
    for name in ("num_of_heads", "initial_temperature", "final_temperature", "cooldown_steps"):
        del stock[name]
    criterion = {"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.2, "other": 1}
    state = _state(Namespace(**stock), criterion=criterion)
    made = frozen_state(state, tmp_path, 5, "decoder.cross=1", seed=3)
    model = made["cfg"]["model"]
    assert model.arch == model._name == "dsp_transformer_iwslt_de_en"
    assert (model.num_of_heads, model.keep_at_least, model.gate_seed) == ("5", "decoder.cross=1", 3)
    assert made["cfg"]["criterion"] == {
        "_name": "dsp_label_smoothed_cross_entropy",
        "label_smoothing": 0.2,
        "sentence_avg": False,
    }
    assert made["extra_state"] == {"train_iterator": {"epoch": 2}}
    assert state["cfg"]["model"].optimizer == "adam"
    from dsp_fairseq.models.transformer import DspTransformerModel

    gated = DspTransformerModel.build_model(model, task)
    assert gated.head_gates.layout.num_heads == 24


@pytest.mark.parametrize(
    ("flags", "extra", "message"),
    [
        ({"arch": "fconv"}, {}, "is of fconv: only fairseq's transformer and a dsp_transformer"),
        ({"kept_heads": "none"}, {}, "is exported, its heads are chosen"),
        ({"arch": "transformer"}, {"dsp_signature": "K:6"}, "is exported, its heads are chosen"),
    ],
)
def test_other_checkpoints_are_refused(arguments, tmp_path, flags, extra, message):
    state = {**_state(arguments(**flags)), **extra}
    with pytest.raises(PruningError, match=message):
        frozen_state(state, tmp_path / "x.pt", 5, "", 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_pruned_checkpoint_is_refused(arguments, build, tmp_path, frozen):
    model = build(6)
    if frozen:
        model.head_gates.adopt(torch.rand(N))
    state = {**_state(arguments("6")), "model": model.state_dict()}
    with pytest.raises(PruningError, match="is pruned, to 6 of 24 heads: give a dense checkpoint"):
        frozen_state(state, tmp_path / "x.pt", 5, "", 1)
