"""Which heads a checkpoint keeps, by its gates or by the heads that an export left."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

from torch import Tensor

from ..errors import PruningError
from ..estimators.budget import Budget, kept_mask, leaves_no_choice
from ..estimators.costs import CostBudget
from ..heads.budget import check_learned, check_trained, parse_budget, parse_budgets, parse_limits
from ..heads.costs import parse_cost_budget
from ..heads.head_map import HeadMap
from ..heads.layout import HeadLayout, parse_kept_heads
from .formats import BUDGETS_KEY, FROZEN_KEY, IMPORTANCE_KEY, MASK_KEY, trained_budgets
from .validation import check_attentions, check_gates


def kept_heads(
    weights: Mapping[str, Tensor],
    args: Namespace,
    layout: HeadLayout,
    where: str,
    num_of_heads: int | str | None = None,
) -> HeadMap:
    """Reads the choice of heads off a model's weights and arguments.

    Args:
        weights: a state dict with gates, or of an exported model.
        args: the model's arguments.
        layout: all its heads.
        where: what to call it in messages.
        num_of_heads: K instead of its own, which must not be frozen then.

    Raises:
        PruningError: weights and arguments do not fit together, or K does not fit.
    """
    asked = None if num_of_heads is None else parse_budget(num_of_heads, layout.num_heads)
    if IMPORTANCE_KEY not in weights:
        return _of_export(weights, args, layout, where, asked)
    check_gates(weights, layout, where)
    check_attentions(weights, layout, None, where)
    importance = weights[IMPORTANCE_KEY].detach().float()
    frozen = bool(weights[FROZEN_KEY])
    trained = trained_budgets(weights[BUDGETS_KEY])
    priced = _cost_budget(args, layout)
    if frozen:
        mask = weights[MASK_KEY].float()
        budget = int(mask.sum()) if asked is None else asked
        check_trained([budget], trained, where)
        if budget == int(mask.sum()):
            return HeadMap(layout, importance, mask, True, budget, priced)
    if priced is not None and asked is not None:
        raise PruningError(
            f"{where} was trained with --cost-budget, which says how many heads it keeps: leave "
            "out --num-of-heads"
        )
    chosen: Budget | None = priced if asked is None else asked
    if chosen is None:
        chosen = parse_budgets(getattr(args, "num_of_heads", None), layout.num_heads)[0]
    if not leaves_no_choice(chosen, layout.num_heads):
        check_learned(trained, layout.num_heads, where)
    at_least, at_most = (getattr(args, f"keep_at_{way}", "") for way in ("least", "most"))
    mask = kept_mask(importance, chosen, parse_limits(at_least, at_most, layout, [chosen]))
    return HeadMap(layout, importance, mask, frozen, int(mask.sum()), priced)


def _cost_budget(args: Namespace, layout: HeadLayout) -> CostBudget | None:
    """The budget in cost of a model with these arguments, if it has one."""
    limit = getattr(args, "cost_budget", None)
    if limit is None:
        return None
    return parse_cost_budget(getattr(args, "head_costs", None), limit, layout)


def _of_export(
    weights: Mapping[str, Tensor],
    args: Namespace,
    layout: HeadLayout,
    where: str,
    asked: int | None,
) -> HeadMap:
    try:
        mask = layout.mask(parse_kept_heads(str(args.kept_heads), layout))
    except ValueError as error:
        raise PruningError(f"{where} is damaged: its kept_heads {error}") from None
    check_attentions(weights, layout, layout.kept(mask), where)
    budget = int(mask.sum())
    check_trained([budget if asked is None else asked], [budget], where)
    return HeadMap(layout, None, mask, True, budget, _cost_budget(args, layout))
