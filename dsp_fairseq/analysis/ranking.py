"""The registry of rankings: ways to order the heads of a dense model without training.

Michel, Levy and Neubig, *Are Sixteen Heads Really Better than One?*, NeurIPS 2019; the Fisher
information of the mask as in Kwon et al., *A Fast Post-Training Pruning Framework for
Transformers*, NeurIPS 2022; two controls that look at no data; and the order that another
training learned, as in Behnke and Heafield, *Losing Heads in the Lottery*, EMNLP 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import sample_batches
from ..errors import PruningError, refuse_taken
from ..estimators import NO_LIMITS, Budget, CostBudget, Limits, top_k_mask
from ..heads.head_map import HeadMap
from ..heads.layout import HeadLayout
from ..progress import progress
from .scores import (
    check_finite,
    gate_gradients,
    normalise_per_site,
    sentence_gradients,
    weight_norms,
)

LEARNED = "learned"
"""The ranking that reads its order from a checkpoint."""

Score = Callable[[Tensor], Tensor]
"""Maps the 0/1 mask ``[N]`` of the heads still open to scores ``[N]``; higher is better."""


@dataclass(frozen=True)
class RankingOptions:
    """How heads are to be ranked.

    Attributes:
        method: one of :data:`RANKINGS`.
        num_of_heads: K; None where there is a budget in cost.
        keep_at_least: floors on the heads kept, as in the flag.
        keep_at_most: ceilings, likewise.
        seed: of ``random``, and of the order of the batches.
        one_shot: close all heads after one scoring.
        heads_per_step: heads to close before scoring again (default: the ranking's own).
        split: the data that are scored on, and that a repair is fitted to.
        max_batches: how many batches of them are scored on, drawn by the seed; None for all.
        max_tokens: the size of a batch.
        cpu: do not use a GPU.
        repair_batches: how many batches the output projections are fitted to; 0 for no repair.
        head_costs: prices of heads, as in the flag.
        cost_budget: what the heads kept may cost together.
        heads_of: of ``learned``, the checkpoint whose heads are taken.

    Raises:
        PruningError: ``heads_of`` without ``learned``, or the reverse, or it has a budget in cost.
    """

    method: str
    num_of_heads: int | None
    keep_at_least: str = ""
    keep_at_most: str = ""
    seed: int = 1
    one_shot: bool = False
    heads_per_step: int | None = None
    split: str = "train"
    max_batches: int | None = 20
    max_tokens: int = 4096
    cpu: bool = False
    repair_batches: int = 0
    head_costs: str | None = None
    cost_budget: str | None = None
    heads_of: Path | None = None

    def __post_init__(self) -> None:
        if self.method != LEARNED and self.heads_of:
            raise PruningError(f"--heads-of belongs to --method {LEARNED}, not to {self.method}")
        if self.method == LEARNED and not self.heads_of:
            raise PruningError(
                f"--method {LEARNED} takes the heads of another checkpoint: add --heads-of FILE"
            )
        if self.method == LEARNED and self.cost_budget is not None:
            raise PruningError(f"--method {LEARNED} goes by --num-of-heads, not by --cost-budget")


@dataclass(frozen=True)
class Subject:
    """What is ranked: a gated model with all its heads open, its task and its criterion.

    ``chosen`` is what the model of ``--heads-of`` keeps.
    """

    model: Any
    task: Any
    criterion: nn.Module
    layout: HeadLayout
    options: RankingOptions
    chosen: HeadMap | None = None

    def sample(self, number: int | None) -> tuple[Iterator[Mapping[str, Any]], int]:
        """Batches of the split, drawn by the seed, on the model's device; and how many they are."""
        split, size, seed = self.options.split, self.options.max_tokens, self.options.seed
        return sample_batches(self.task, self.model, split, size, number, seed)

    def batches(self, what: str) -> Iterator[Mapping[str, Any]]:
        """The batches to score on, with a progress bar."""
        return progress(*self.sample(self.options.max_batches), what, "batches")


@dataclass(frozen=True)
class Ranking:
    """A ranking.

    Attributes:
        name: as ``--method`` has it.
        help: what it is, for ``--help``.
        uses_data: whether it looks at data, so that scoring again says something new.
        score: makes the scores of a model.
        share: of the heads, closed at once before the others are scored again; at least one head.
    """

    name: str
    help: str
    uses_data: bool
    score: Callable[[Subject], Score]
    share: float = 0.1


RANKINGS: dict[str, Ranking] = {}
"""The rankings by name."""


def register_ranking(
    name: str, help: str, uses_data: bool = False, share: float = 0.1
) -> Callable[[Callable[[Subject], Score]], Callable[[Subject], Score]]:
    """A function decorator: the ranking becomes a choice of ``--method``.

    Raises:
        PruningError: its name is another's.
    """
    refuse_taken(RANKINGS, name, "ranking")

    def register(score: Callable[[Subject], Score]) -> Callable[[Subject], Score]:
        RANKINGS[name] = Ranking(name, help, uses_data, score, share)
        return score

    return register


@register_ranking(
    "michel",
    "|d loss / d gate| summed over a sample of the data (Michel et al. 2019), the scores of a site "
    "divided by their l2 norm. The lowest heads are closed a few at a time and the others scored "
    "again without them.",
    uses_data=True,
)
def _michel(subject: Subject) -> Score:
    def score(left: Tensor) -> Tensor:
        batches = subject.batches(f"scoring {int(left.sum())} heads")
        gradients = gate_gradients(subject.model, subject.criterion, batches, left)
        return normalise_per_site(gradients, subject.layout)

    return score


@register_ranking(
    "fisher",
    "growth of the loss to second order, by the Fisher information of the gates (Kwon et al. "
    "2022, with the products of all pairs of heads), on a sample of the data. Heads are closed one "
    "by one, with regard to those closed before.",
    uses_data=True,
    share=0.0,
)
def _fisher(subject: Subject) -> Score:
    gradients = sentence_gradients(
        subject.model, subject.criterion, subject.batches("scoring heads"), subject.layout
    )
    check_finite(gradients)
    fisher = gradients.t() @ gradients
    # (1 - mask) F (1 - mask) is twice the loss; a score is by how much one more head adds to it.
    return lambda left: fisher.diagonal() + 2 * fisher @ (1 - left.double())


@register_ranking(
    "weight-norm",
    "l2 norm of a head's weights in q, k, v and the output projection, divided as in michel",
)
def _weight_norm(subject: Subject) -> Score:
    weights = subject.model.state_dict()
    return lambda left: normalise_per_site(weight_norms(weights, subject.layout), subject.layout)


@register_ranking("random", "a random order, drawn by --seed")
def _random(subject: Subject) -> Score:
    def score(left: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(subject.options.seed)
        return torch.randperm(left.numel(), generator=generator).double()

    return score


@register_ranking(
    LEARNED,
    "the heads of --heads-of: those that it keeps before the others, each by its importance. So a "
    "trained choice of heads begins anew from earlier weights (Behnke and Heafield 2020).",
)
def _learned(subject: Subject) -> Score:
    path, layout, heads = subject.options.heads_of, subject.layout, subject.chosen
    assert heads is not None
    if (heads.layout.sites, heads.layout.heads) != (layout.sites, layout.heads):
        raise PruningError(f"{path} is of a model with {heads.layout}, and this one has {layout}")
    scores = heads.mask.double()
    if heads.importance is not None:
        scores += heads.importance.argsort(stable=True).argsort() / scores.numel()
    elif heads.budget != subject.options.num_of_heads:
        raise PruningError(
            f"{path} has no importance, since its closed heads were removed: keep as many as it "
            f"does, {heads.budget}, or give what it was exported from"
        )
    return lambda left: scores


# ---- the order


def order_heads(
    score: Score,
    num_heads: int,
    budget: Budget,
    limits: Limits = NO_LIMITS,
    step: int | None = None,
) -> Tensor:
    """Closes the heads of the lowest scores, a few at a time, until the budget is met.

    Where heads have prices, these are scores per cost.

    Args:
        score: of the heads still open; what it says of others does not count.
        num_heads: N.
        budget: K or C.
        limits: floors and ceilings.
        step: how many heads to close before scoring again (default: all that must go, at once).

    Returns:
        the heads' numbers ``[N]``, best first. The first K are those kept; behind them what was
        closed later stands before what was closed earlier, and otherwise the scores decide.
    """
    step = num_heads if step is None else step
    left = torch.ones(num_heads)
    least, most = limits.range_of_budgets(num_heads)
    prices = budget.units if isinstance(budget, CostBudget) else torch.ones(num_heads)
    scores = score(left) / prices
    closed: list[Tensor] = []
    while _exceeds(left, budget):
        if closed:
            scores = score(left) / prices
        goal = budget if isinstance(budget, int) else least
        size = min(max(goal, int(left.sum()) - step), most)
        kept = top_k_mask(scores.masked_fill(left == 0, -torch.inf), size, limits)
        closed.insert(0, _sorted(scores, left - kept))
        left = kept
    return torch.cat([_sorted(scores, left), *closed])


def _exceeds(left: Tensor, budget: Budget) -> bool:
    if isinstance(budget, CostBudget):
        return budget.cost_of(left) > budget.limit
    return int(left.sum()) > budget


def rank(subject: Subject, budget: Budget, limits: Limits = NO_LIMITS) -> Tensor:
    """The order of the heads of a model ``[N]``, best first, by the method of its options."""
    options, num_heads = subject.options, subject.layout.num_heads
    ranking = RANKINGS[options.method]
    stepwise = ranking.uses_data and not options.one_shot
    own_step = max(1, math.ceil(num_heads * ranking.share))
    step = (options.heads_per_step or own_step) if stepwise else None
    return order_heads(ranking.score(subject), num_heads, budget, limits, step)


def _sorted(scores: Tensor, mask: Tensor) -> Tensor:
    """The heads of a mask, highest score first; ties go to the lower number, as in the top K."""
    heads = mask.nonzero().flatten()
    return heads[torch.argsort(scores[heads], descending=True, stable=True)]


def importance_of(order: Tensor, budget: Budget | None = None) -> Tensor:
    """Importance ``[N]`` in this order: from 1 for the best head, evenly down to 1/N.

    Ranks and not scores, since scores of different steps do not compare. Where heads have prices,
    it is importance per cost that does so: that is what a budget in cost goes by.
    """
    importance = torch.empty(order.numel())
    importance[order] = torch.arange(order.numel(), 0, -1) / order.numel()
    if isinstance(budget, CostBudget):
        importance *= budget.units
    return importance
