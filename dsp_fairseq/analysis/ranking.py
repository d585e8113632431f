"""The registry of rankings: ways to order the heads of a dense model without training.

Michel, Levy and Neubig, *Are Sixteen Heads Really Better than One?*, NeurIPS 2019, and two controls
that look at no data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from fairseq import utils
from torch import Tensor, nn

from ..data.batches import load_split, split_batches
from ..estimators import NO_LIMITS, Limits, top_k_mask
from ..heads.layout import HeadLayout
from ..progress import progress
from .scores import gate_gradients, normalise_per_site, weight_norms

Score = Callable[[Tensor], Tensor]
"""Maps the 0/1 mask ``[N]`` of the heads still open to scores ``[N]``; higher is better."""


@dataclass(frozen=True)
class RankingOptions:
    """How heads are to be ranked.

    Attributes:
        method: one of :data:`RANKINGS`.
        num_of_heads: K.
        keep_at_least: floors on the heads kept, as in the flag.
        keep_at_most: ceilings, likewise.
        seed: of ``random``, and of the order of the batches.
        one_shot: close all heads after one scoring.
        heads_per_step: heads to close before scoring again (default: a tenth of N).
        split: the data that are scored on.
        max_batches: how many batches of them, drawn by the seed; None for all.
        max_tokens: the size of a batch.
        cpu: do not use a GPU.
    """

    method: str
    num_of_heads: int
    keep_at_least: str = ""
    keep_at_most: str = ""
    seed: int = 1
    one_shot: bool = False
    heads_per_step: int | None = None
    split: str = "train"
    max_batches: int | None = 20
    max_tokens: int = 4096
    cpu: bool = False


@dataclass(frozen=True)
class Subject:
    """What is ranked: a gated model with all its heads open, its task and its criterion."""

    model: Any
    task: Any
    criterion: nn.Module
    layout: HeadLayout
    options: RankingOptions


@dataclass(frozen=True)
class Ranking:
    """A ranking.

    Attributes:
        name: as ``--method`` has it.
        help: what it is, for ``--help``.
        uses_data: whether it looks at data, so that scoring again says something new.
        score: makes the scores of a model.
    """

    name: str
    help: str
    uses_data: bool
    score: Callable[[Subject], Score]


RANKINGS: dict[str, Ranking] = {}
"""The rankings by name."""


def register_ranking(
    name: str, help: str, uses_data: bool = False
) -> Callable[[Callable[[Subject], Score]], Callable[[Subject], Score]]:
    """A function decorator: the ranking becomes a choice of ``dsp-rank-heads --method``."""

    def register(score: Callable[[Subject], Score]) -> Callable[[Subject], Score]:
        RANKINGS[name] = Ranking(name, help, uses_data, score)
        return score

    return register


@register_ranking(
    "michel",
    "|d loss / d gate| summed over a sample of the data (Michel et al. 2019), the scores of a site "
    "divided by their l2 norm. The lowest heads are closed a few at a time and the others scored "
    "again without them; --one-shot scores once.",
    uses_data=True,
)
def _michel(subject: Subject) -> Score:
    model, task, options = subject.model, subject.task, subject.options
    load_split(task, options.split)
    if torch.cuda.is_available() and not options.cpu:
        model.cuda()

    def score(left: Tensor) -> Tensor:
        batches = split_batches(
            task, [model], options.split, options.max_tokens, shuffle=True, seed=options.seed
        )
        number = min(len(batches), options.max_batches or len(batches))
        sample = islice(batches, number)
        counted = progress(sample, number, f"scoring {int(left.sum())} heads", "batches")
        if next(model.parameters()).is_cuda:
            counted = map(utils.move_to_cuda, counted)
        gradients = gate_gradients(model, subject.criterion, counted, left)
        return normalise_per_site(gradients, subject.layout)

    return score


@register_ranking(
    "weight-norm",
    "l2 norm of a head's weights in q, k, v and the output projection, divided likewise",
)
def _weight_norm(subject: Subject) -> Score:
    weights = subject.model.state_dict()
    return lambda left: normalise_per_site(weight_norms(weights, subject.layout), subject.layout)


@register_ranking("random", "any order, by --seed")
def _random(subject: Subject) -> Score:
    def score(left: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(subject.options.seed)
        return torch.randperm(left.numel(), generator=generator).double()

    return score


# ---- the order


def order_heads(
    score: Score,
    num_heads: int,
    budget: int,
    limits: Limits = NO_LIMITS,
    step: int | None = None,
) -> Tensor:
    """Closes the heads of the lowest scores, a few at a time, until ``budget`` are left.

    Args:
        score: of the heads still open; what it says of others does not count.
        num_heads: N.
        budget: K.
        limits: floors and ceilings.
        step: how many heads to close before scoring again (default: all that must go, at once).

    Returns:
        the heads' numbers ``[N]``, best first. The first K are those kept; behind them what was
        closed later stands before what was closed earlier, and otherwise the scores decide.
    """
    step = num_heads if step is None else step
    left = torch.ones(num_heads)
    _, most = limits.range_of_budgets(num_heads)
    scores = score(left)
    closed: list[Tensor] = []
    while int(left.sum()) > budget:
        if closed:
            scores = score(left)
        size = min(max(budget, int(left.sum()) - step), most)
        kept = top_k_mask(scores.masked_fill(left == 0, -torch.inf), size, limits)
        closed.insert(0, _sorted(scores, left - kept))
        left = kept
    return torch.cat([_sorted(scores, left), *closed])


def rank(subject: Subject, budget: int, limits: Limits = NO_LIMITS) -> Tensor:
    """The order of the heads of a model ``[N]``, best first, by the method of its options."""
    options, num_heads = subject.options, subject.layout.num_heads
    ranking = RANKINGS[options.method]
    stepwise = ranking.uses_data and not options.one_shot
    step = (options.heads_per_step or math.ceil(num_heads / 10)) if stepwise else None
    return order_heads(ranking.score(subject), num_heads, budget, limits, step)


def _sorted(scores: Tensor, mask: Tensor) -> Tensor:
    """The heads of a mask, highest score first; ties go to the lower number, as in the top K."""
    heads = mask.nonzero().flatten()
    return heads[torch.argsort(scores[heads], descending=True, stable=True)]


def importance_of(order: Tensor) -> Tensor:
    """Importance ``[N]`` in this order: from 1 for the best head, evenly down to 1/N.

    Ranks and not scores, since scores of different steps do not compare.
    """
    importance = torch.empty(order.numel())
    importance[order] = torch.arange(order.numel(), 0, -1) / order.numel()
    return importance
