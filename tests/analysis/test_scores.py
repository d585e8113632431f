"""What heads are worth: gradients of their gates, and norms of their weights."""

from __future__ import annotations

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from dsp_fairseq.analysis import ranking
from dsp_fairseq.analysis.ranking import order_heads
from dsp_fairseq.analysis.scores import (
    gate_gradients,
    normalise_per_site,
    sentence_gradients,
    weight_norms,
)
from dsp_fairseq.errors import PruningError

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
    assert float(weight_norms(model.state_dict(), layout)[index]) == pytest.approx(float(expected))


def test_sites_are_normalised_and_ties_broken(build):
    layout = build(24).head_gates.layout
    scores = torch.rand(N, dtype=torch.float64)
    norms = [part.norm() for part in layout.split(normalise_per_site(scores, layout)).values()]
    torch.testing.assert_close(torch.stack(norms), torch.ones(6, dtype=torch.float64))
    alone = torch.zeros(N, dtype=torch.float64)
    alone[::4] = torch.tensor([3.0, 6.0, 1.0, 5.0, 2.0, 4.0])
    assert order_heads(lambda _: normalise_per_site(alone, layout), N, 6)[:6].tolist() == [
        *(4, 12, 20, 0, 16, 8)
    ]
    assert not normalise_per_site(torch.zeros(N), layout).any()
    with pytest.raises(PruningError, match="not finite"):
        normalise_per_site(scores.clone().fill_(torch.nan), layout)


def test_gradients_of_sentences_are_those_of_batches_of_one(build, samples, criterion):
    model = build(24, dropout=0.5).double()
    layout = model.head_gates.layout
    found = sentence_gradients(model, criterion, samples, layout)
    assert found.shape == (3, N)
    for row, (number, place) in zip(found, ((0, 0), (0, 1), (1, 0)), strict=True):
        whole = samples[number]
        one = {
            "net_input": {name: x[[place]] for name, x in whole["net_input"].items()},
            "target": whole["target"][[place]],
        }
        alone = gate_gradients(model, criterion, [one], torch.ones(N))
        torch.testing.assert_close(row.abs(), alone, atol=1e-9, rtol=1e-6)
    assert all(attention.on_heads is None for attention in model._attentions.values())


def test_fisher_closes_heads_that_make_good_for_each_other(build, criterion, monkeypatch):
    """Two heads with opposite gradients cost nothing together; each alone costs more than any."""
    gradients = torch.full((4, N), 1.0, dtype=torch.float64) * torch.arange(1, N + 1)
    gradients[:, 3], gradients[:, 4] = 40.0, -40.0
    gradients[:, 0] = 0.1
    monkeypatch.setattr(ranking, "sentence_gradients", lambda *_: gradients)
    model = build()
    options = ranking.RankingOptions("fisher", 21)
    subject = ranking.Subject(model, None, criterion, model.head_gates.layout, options)
    monkeypatch.setattr(ranking.Subject, "batches", lambda *_: [])
    score = ranking.RANKINGS["fisher"].score(subject)
    left = torch.ones(N)
    assert score(left).argmin() == 0
    torch.testing.assert_close(score(left), 4 * gradients[0].square())
    left[3] = 0.0
    # Without head 3, closing head 4 takes back what that cost.
    assert score(left).argmin() == 4
    assert score(left)[4] == pytest.approx(4 * (40**2 - 2 * 40 * 40))
    order = order_heads(score, N, 21, step=1)
    assert set(order[21:].tolist()) == {0, 1, 2}
