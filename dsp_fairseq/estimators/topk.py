"""The hard top-K under floors and ceilings, and budgets that leave no choice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def check_budget(k: int, n: int) -> None:
    """Raises ``ValueError`` unless K is one of ``0..N``."""
    if not 0 <= k <= n:
        raise ValueError(f"budget {k} is outside 0..{n}")


def constant_gates(logits: Tensor, k: int, temperature: float = 1.0) -> Tensor | None:
    """The gates ``[N]`` where the budget leaves no choice (K = 0 or K = N), otherwise None.

    Raises:
        ValueError: K is outside ``0..N`` or the temperature is not positive.
    """
    n = logits.numel()
    check_budget(k, n)
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not positive")
    if 0 < k < n:
        return None
    return torch.full_like(logits, float(k > 0), requires_grad=False)


Bounds = tuple[tuple[Sequence[int], int], ...]
"""(indices, count) pairs; of two sets of indices, one holds the other or they are disjoint."""


@dataclass(frozen=True)
class Limits:
    """Floors and ceilings on the heads kept.

    Sets that are nested or disjoint make of the heads a laminar matroid, in which taking the best
    head that still may be taken is optimal (Edmonds 1971).

    Attributes:
        floors: of each set, at least so many heads are kept.
        ceilings: of each set, at most so many are.
    """

    floors: Bounds = ()
    ceilings: Bounds = ()

    def split(
        self, best_first: Sequence[int], pays: Callable[[int], bool] = lambda head: True
    ) -> tuple[list[int], list[int]]:
        """The heads that may be kept, in the order in which a growing budget takes them.

        Args:
            best_first: all heads, the most important first.
            pays: of a head that may be taken, whether it can be paid for; it is then.

        Returns:
            the heads that the floors take, and those that follow by importance.

        Raises:
            ValueError: the ceilings, or what can be paid for, leave too few heads for the floors.
        """
        ceilings = [(frozenset(members), most) for members, most in self.ceilings]
        taken: set[int] = set()

        def take(head: int) -> bool:
            full = any(head in members and len(members & taken) >= most
                       for members, most in ceilings)  # fmt: skip
            if head in taken or full or not pays(head):
                return False
            taken.add(head)
            return True

        first: list[int] = []
        # Of two sets the inner one first: what it takes counts for the outer one too.
        for members, least in sorted(self.floors, key=lambda floor: len(floor[0])):
            inside = frozenset(members)
            for head in best_first:
                if len(inside & taken) >= least:
                    break
                if head in inside and take(head):
                    first.append(head)
            if len(inside & taken) < least:
                raise ValueError(f"the ceilings leave fewer than {least} of {len(inside)} heads")
        return first, [head for head in best_first if take(head)]

    def hold(self, kept: Collection[int]) -> bool:
        """Whether a set of heads obeys all floors and ceilings."""
        counts = [(len(set(members) & set(kept)), least) for members, least in self.floors]
        above = [(most, len(set(members) & set(kept))) for members, most in self.ceilings]
        return all(larger >= smaller for larger, smaller in (*counts, *above))

    def range_of_budgets(self, num_heads: int) -> tuple[int, int]:
        """The smallest and the largest K that there is a set of heads for.

        Raises:
            ValueError: as :meth:`split`.
        """
        first, rest = self.split(range(num_heads))
        return len(first), len(first) + len(rest)


NO_LIMITS = Limits()


def top_k_mask(importance: Tensor, k: int, limits: Limits = NO_LIMITS) -> Tensor:
    """The 0/1 mask ``[N]`` (float32) of the K most important heads; exactly K, always.

    Ties go to the lower index, so the answer never depends on the device or the sorting routine.

    Args:
        importance: log-weights ``[N]``, finite.
        k: budget, ``0..N``.
        limits: floors and ceilings; under them the K heads of the highest sum are taken.

    Raises:
        ValueError: the budget is outside ``0..N`` or outside of what the limits allow.
    """
    n = importance.numel()
    check_budget(k, n)
    order = torch.argsort(importance.detach(), descending=True, stable=True)
    if limits != NO_LIMITS:
        first, rest = limits.split(order.tolist())
        if not len(first) <= k <= len(first) + len(rest):
            raise ValueError(
                f"the limits allow {len(first)} to {len(first) + len(rest)} heads: "
                f"the budget {k} is outside"
            )
        order = torch.tensor(first + rest, dtype=torch.long, device=order.device)
    mask = torch.zeros(n, device=importance.device)
    mask[order[:k]] = 1.0
    return mask


def margin(importance: Tensor, k: int) -> Tensor:
    """Importance of the K-th head less that of the next (a scalar); 0 where K leaves no choice.

    Args:
        importance: log-weights ``[N]``, finite.
        k: budget, ``0..N``.
    """
    if k in (0, importance.numel()):
        return importance.new_zeros(())
    ranked = importance.sort(descending=True).values
    return ranked[k - 1] - ranked[k]
