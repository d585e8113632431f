"""Budgets and floors: the numbers of heads to keep, parsed and checked against a layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..errors import PruningError
from .layout import HeadLayout

Floors = tuple[tuple[Sequence[int], int], ...]
"""(indices, at least) pairs."""


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


def parse_floors(text: str, layout: HeadLayout) -> Floors:
    """(indices, at least) pairs from ``kind=count,kind=count``.

    Raises:
        PruningError: an unknown kind, a count that is no whole number, or more than there are.
    """
    floors = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        kind, _, count = part.partition("=")
        if kind not in layout.kinds() or not count.isdecimal() or kind in floors:
            raise PruningError(
                f"--keep-at-least {part!r}: write KIND=COUNT, each kind once, with KIND one of "
                f"{', '.join(layout.kinds())}"
            )
        indices = layout.indices(kind)
        if int(count) > len(indices):
            raise PruningError(f"--keep-at-least {part}: the model has {len(indices)} {kind} heads")
        floors[kind] = (tuple(indices), int(count))
    return tuple(floors.values())


def check_floors(text: str, floors: Floors, budget: int) -> None:
    """Raises ``PruningError`` where the floors ask for more heads than the budget has."""
    least = sum(count for _, count in floors)
    if least > budget:
        raise PruningError(
            f"--keep-at-least {text} asks for more heads than --num-of-heads: "
            f"{budget} is below the {least} heads that it names"
        )


def trained_budgets(budgets: Tensor) -> list[int]:
    """The K that a model was trained for, from its ``head_gates.budgets`` ``[N+1]``."""
    return budgets.nonzero().flatten().tolist()


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
