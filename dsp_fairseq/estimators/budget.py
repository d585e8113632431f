"""A budget: a count of heads, or what they may cost together; and the heads that it keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from .costs import CostBudget
from .topk import NO_LIMITS, Limits, margin, top_k_mask

Budget = int | CostBudget
"""K, or what heads may cost together."""


def leaves_no_choice(budget: Budget, num_heads: int) -> bool:
    """Whether it keeps all heads, or none."""
    if isinstance(budget, CostBudget):
        return budget.limit in (0, budget.total)
    return budget in (0, num_heads)


def border_margin(importance: Tensor, budget: Budget) -> Tensor:
    """How far importance (per cost) falls at the border (a scalar); 0 where there is no choice."""
    if isinstance(budget, CostBudget):
        return budget.margin(importance)
    return margin(importance, budget)


def kept_mask(importance: Tensor, budget: Budget, limits: Limits = NO_LIMITS) -> Tensor:
    """The 0/1 mask ``[N]`` (float32) of the heads that a budget keeps.

    A count keeps the top K. Where heads have prices they are taken by importance per cost, the
    highest first and ties by the lower index; what is too dear for the rest of the budget is passed
    over. So the heads kept never cost more than C, and no other could be added within it and the
    ceilings.

    Importance per cost and not importance, since the gates of ``priced_sigmoid`` tend to that
    order, and as they do it stays what it is where ``importance + a * costs`` takes the place of
    importance.

    Args:
        importance: log-weights ``[N]``, finite.
        budget: K or C.
        limits: floors and ceilings; heads of one set must have one price.

    Raises:
        ValueError: no set of heads meets the limits and the budget.
    """
    if isinstance(budget, int):
        return top_k_mask(importance, budget, limits)
    costs, left = budget.costs, budget.limit

    def pays(head: int) -> bool:
        nonlocal left
        if costs[head] > left:
            return False
        left -= costs[head]
        return True

    density = importance.detach().cpu().double() / budget.units
    order = torch.argsort(density, descending=True, stable=True)
    first, rest = limits.split(order.tolist(), pays)
    mask = torch.zeros(len(costs))
    mask[first + rest] = 1.0
    return mask.to(importance.device)
