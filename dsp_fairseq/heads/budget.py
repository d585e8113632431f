"""Budgets, floors and ceilings: which heads may be kept, parsed and checked against a layout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from torch import Tensor

from ..errors import PruningError
from ..estimators.budget import Budget
from ..estimators.costs import CostBudget
from ..estimators.topk import Bounds, Limits
from .layout import HeadLayout


def parse_budgets(text: Any, num_heads: int) -> tuple[int, ...]:
    """One budget or several from their flag, as in ``6`` or ``6,12,24``.

    Raises:
        PruningError: not given, no whole numbers within ``0..N``, or one of them twice.
    """
    allowed = f"a whole number from 0 to {num_heads} (this model has {num_heads} heads)"
    if text is None:
        raise PruningError(f"--num-of-heads is missing: give {allowed}")
    budgets = []
    for part in str(text).split(","):
        try:
            budgets.append(int(part))
        except ValueError:
            raise PruningError(f"--num-of-heads {part!r} is not {allowed}") from None
        if not 0 <= budgets[-1] <= num_heads:
            raise PruningError(f"--num-of-heads {budgets[-1]} is not {allowed}")
    if len(set(budgets)) < len(budgets):
        raise PruningError(f"--num-of-heads {text} names a budget twice")
    return tuple(budgets)


def parse_budget(text: Any, num_heads: int) -> int:
    """As :func:`parse_budgets`, where there can be only one.

    Raises:
        PruningError: as there, and for several.
    """
    budgets = parse_budgets(text, num_heads)
    if len(budgets) > 1:
        raise PruningError(f"--num-of-heads {text}: give one number")
    return budgets[0]


def parse_limits(
    at_least: str, at_most: str, layout: HeadLayout, budgets: Sequence[Budget]
) -> Limits:
    """Floors and ceilings from their flags, checked against the budgets.

    Args:
        at_least: of ``--keep-at-least``: ``NAME=COUNT,NAME=COUNT``, where a name is a kind
            (``decoder.self``), a site (``decoder.self.0``), or ``site`` for every site.
        at_most: of ``--keep-at-most``, likewise.
        layout: the model's heads.
        budgets: what there has to be a set of heads for.

    Raises:
        PruningError: an unknown name, a count that is no whole number, more than there are, or a
            budget that leaves no choice of heads.
    """
    limits = Limits(
        _parse_bounds("keep-at-least", at_least, layout),
        _parse_bounds("keep-at-most", at_most, layout),
    )
    try:
        first, rest = limits.split(range(layout.num_heads))
    except ValueError as error:
        raise PruningError(
            f"--keep-at-least {at_least} asks for more heads than --keep-at-most {at_most} "
            f"allows: {error}"
        ) from None
    least, most = len(first), len(first) + len(rest)
    for budget in budgets:
        if isinstance(budget, CostBudget):
            _check_floors(at_least, first, budget)
            _check_ceilings(at_most, [*first, *rest], budget)
        elif budget < least:
            raise PruningError(
                f"--keep-at-least {at_least} asks for more heads than --num-of-heads: "
                f"{budget} is below the {least} heads that it names"
            )
        elif budget > most:
            raise PruningError(
                f"--keep-at-most {at_most} allows {most} heads, and --num-of-heads is {budget}"
            )
    return limits


def _check_floors(at_least: str, heads: Sequence[int], budget: CostBudget) -> None:
    # Those of one floor are of one kind, and have one price.
    cost = sum(budget.costs[head] for head in heads)
    if cost > budget.limit:
        raise PruningError(
            f"--keep-at-least {at_least} asks for more than --cost-budget pays for: "
            f"{float(budget.limit):g} is below the {float(cost):g} that these heads cost"
        )


def _check_ceilings(at_most: str, heads: Sequence[int], budget: CostBudget) -> None:
    costs = [budget.costs[head] for head in heads]
    if sum(costs) < budget.limit:
        raise PruningError(
            f"--keep-at-most {at_most} allows heads that cost {float(sum(costs)):g}, and "
            f"--cost-budget is {float(budget.limit):g}"
        )
    if 0 < budget.limit < min(costs, default=0):
        raise PruningError(
            f"--cost-budget {float(budget.limit):g} pays for none of the heads that --keep-at-most "
            f"{at_most} allows: the cheapest costs {float(min(costs)):g}"
        )


def _parse_bounds(flag: str, text: str, layout: HeadLayout) -> Bounds:
    sites = {str(site): tuple(layout.range(site)) for site in layout.sites}
    sets = {kind: [tuple(layout.indices(kind))] for kind in layout.kinds()}
    sets |= {name: [indices] for name, indices in sites.items()}
    sets["site"] = list(sites.values())
    found: dict[str, Bounds] = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        name, _, count = part.partition("=")
        if name not in sets or not count.isdecimal() or name in found:
            raise PruningError(
                f"--{flag} {part!r}: write NAME=COUNT, each name once, with NAME one of "
                f"{', '.join(layout.kinds())}, site for every attention sublayer, or one of these "
                f"such as {layout.sites[0]}"
            )
        smallest = min(map(len, sets[name]))
        if flag == "keep-at-least" and int(count) > smallest:
            raise PruningError(f"--{flag} {part}: the model has {smallest} {name} heads")
        found[name] = tuple((indices, int(count)) for indices in sets[name])
    return tuple(chain(*found.values()))


def check_cost(mask: Tensor, kept: Tensor, budget: CostBudget) -> None:
    """Heads that are frozen can be had for the budget only that they were trained for.

    Args:
        mask: 0/1 ``[N]``, the frozen heads.
        kept: those that the budget would keep.
        budget: what is asked for.

    Raises:
        PruningError: these are others.
    """
    if not kept.equal(mask):
        raise PruningError(
            f"the checkpoint is frozen at heads that cost {float(budget.cost_of(mask)):g}, and "
            f"--cost-budget {float(budget.limit):g} would keep others: give the --head-costs and "
            "--cost-budget that it was trained with"
        )


def check_learned(
    trained: Sequence[int], num_heads: int, where: str, way: str = "rank them by dsp-rank-heads"
) -> None:
    """For a model of which some heads are asked for.

    Raises:
        PruningError: it was trained with all its heads, or with none, and knows no order of them.
    """
    if set(trained) <= {0, num_heads}:
        raise PruningError(
            f"{where} was trained with {' and '.join(map(str, trained))} heads, so nothing says "
            f"which to keep: {way}"
        )


def check_trained(asked: Sequence[int], trained: Sequence[int], where: str) -> None:
    """Heads that are frozen can be had in the numbers only that were trained.

    Raises:
        PruningError: another number is asked for.
    """
    for budget in asked:
        if budget not in trained:
            raise PruningError(
                f"{where} is frozen at {' and '.join(map(str, trained))} heads, but "
                f"--num-of-heads is {budget}: use a number it was trained for, or a checkpoint "
                "from before the freeze"
            )
