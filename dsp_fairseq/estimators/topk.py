"""The hard top-K: which heads are kept in the end, and budgets that leave no choice."""

from __future__ import annotations

from collections.abc import Sequence

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


def top_k_mask(
    importance: Tensor, k: int, floors: Sequence[tuple[Sequence[int], int]] = ()
) -> Tensor:
    """The 0/1 mask ``[N]`` (float32) of the K most important heads; exactly K, always.

    Ties go to the lower index, so the answer never depends on the device or the sorting routine.

    Args:
        importance: log-weights ``[N]``, finite.
        k: budget, ``0..N``.
        floors: (indices, at least) pairs over disjoint sets of heads: the best ``at least`` heads
            of each set are taken first, the rest of the budget goes by importance alone.

    Raises:
        ValueError: the budget is outside ``0..N`` or smaller than the sum of the floors.
    """
    n = importance.numel()
    check_budget(k, n)
    if sum(least for _, least in floors) > k:
        raise ValueError(f"floors add up to more than the budget {k}")
    order = torch.argsort(importance.detach(), descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(n, device=order.device)
    for indices, least in floors:
        members = torch.as_tensor(indices, dtype=torch.long, device=order.device)
        best = members[torch.argsort(rank[members])[:least]]
        rank[best] -= n
    mask = torch.zeros(n, device=importance.device)
    mask[torch.argsort(rank)[:k]] = 1.0
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
