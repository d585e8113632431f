"""The order of heads that are ranked, and the registry of rankings."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from dsp_fairseq.analysis.ranking import importance_of, order_heads
from dsp_fairseq.estimators import NO_LIMITS, CostBudget, Limits, kept_mask, top_k_mask

N = 24


@pytest.mark.parametrize("step", [None, 1, 3, 5, 30])
@pytest.mark.parametrize("budget", [0, 1, 7, 23, 24])
def test_the_order_is_that_of_closing(step, budget):
    generator = torch.Generator().manual_seed(1)
    asked = []

    def score(left):
        asked.append(left.clone())
        return torch.rand(N, generator=generator, dtype=torch.float64)

    order = order_heads(score, N, budget, step=step)
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
    order = order_heads(lambda _: scores, N, 9)
    assert order.tolist() == scores.argsort(descending=True).tolist()
    assert order.tolist() == order_heads(lambda _: scores, N, 9, step=4).tolist()


def test_floors_hold_at_every_step():
    scores = torch.arange(N, 0, -1, dtype=torch.float64)  # the last heads are the worst
    limits = Limits(floors=(((20, 21, 22, 23), 2),))
    order = order_heads(lambda _: scores, N, 5, limits, step=4)
    assert set(order[:5].tolist()) == {0, 1, 2, 20, 21}
    mask = top_k_mask(importance_of(order), 5, limits)
    assert mask.nonzero().flatten().tolist() == [0, 1, 2, 20, 21]


def test_ceilings_hold_at_every_step():
    scores = torch.arange(N, 0, -1, dtype=torch.float64)
    limits = Limits(ceilings=((range(12), 2), (range(12, N), 4)))
    for step in (1, 4, None):
        order = order_heads(lambda _: scores, N, 5, limits, step=step)
        assert set(order[:5].tolist()) == {0, 1, 12, 13, 14}
        assert top_k_mask(importance_of(order), 5, limits).nonzero().flatten().tolist() == [
            *(0, 1, 12, 13, 14),
        ]


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


PRICES = (Fraction(1), Fraction(4), Fraction(5, 2))
LIMITED = Limits(((range(8, 16), 1),), tuple((range(i, i + 4), 3) for i in range(0, N, 4)))


@pytest.mark.parametrize("step", [None, 1, 5])
@pytest.mark.parametrize("limit", ["4", "17.5", "33", "59"])
@pytest.mark.parametrize("limits", [NO_LIMITS, LIMITED])
def test_a_ranking_meets_a_budget_in_cost(step, limit, limits):
    budget = CostBudget(tuple(PRICES[i // 8] for i in range(N)), Fraction(limit))
    generator, asked = torch.Generator().manual_seed(2), []

    def score(left):
        asked.append(left.clone())
        return torch.rand(N, generator=generator, dtype=torch.float64)

    order = order_heads(score, N, budget, limits, step)
    assert sorted(order.tolist()) == list(range(N))
    assert all(budget.cost_of(left) > budget.limit for left in asked), "scored until it is met"
    kept = kept_mask(importance_of(order, budget), budget, limits)
    assert budget.cost_of(kept) <= budget.limit
    if limits == NO_LIMITS:
        assert budget.limit - budget.cost_of(kept) < min(
            (cost for cost, flag in zip(budget.costs, kept, strict=True) if not flag), default=1
        )
    else:
        assert kept[8:16].sum() >= 1 and all(part.sum() <= 3 for part in kept.split(4))


def test_one_scoring_goes_by_score_per_cost():
    budget = CostBudget((Fraction(1), Fraction(4), Fraction(2)), Fraction(3))
    order = order_heads(lambda _: torch.tensor([1.0, 6.0, 1.0]), 3, budget)
    assert order.tolist() == [1, 0, 2]
    assert kept_mask(importance_of(order, budget), budget).tolist() == [1, 0, 1]
