"""What all estimators do with their arguments before anything is drawn."""

from __future__ import annotations

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
