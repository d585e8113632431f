"""Which attention heads a model keeps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..estimators.budget import border_margin
from ..estimators.costs import CostBudget
from .layout import HeadLayout, Site


@dataclass(frozen=True, eq=False)
class HeadMap:
    """The heads of a model and which of them it keeps.

    Attributes:
        layout: the model's heads.
        importance: log-weights ``[N]``, or None for a model that was exported without them.
        mask: 0/1 ``[N]``, with exactly ``budget`` ones.
        frozen: whether the mask is final, and not the top K of an unfinished training.
        budget: K.
        cost_budget: what the heads kept may cost, where that decided how many they are.
    """

    layout: HeadLayout
    importance: Tensor | None
    mask: Tensor
    frozen: bool
    budget: int
    cost_budget: CostBudget | None = None

    @property
    def kept(self) -> dict[Site, list[int]]:
        """Per site, the numbers of the heads that are kept."""
        return self.layout.kept(self.mask)

    @property
    def margin(self) -> float | None:
        """Importance at the border less the next, as in the training log; None without a choice."""
        if self.importance is None or self.budget in (0, self.layout.num_heads):
            return None
        return float(
            border_margin(
                self.importance, self.budget if self.cost_budget is None else self.cost_budget
            )
        )

    @property
    def cost(self) -> float | None:
        """What the heads kept cost, where they have prices."""
        return None if self.cost_budget is None else float(self.cost_budget.cost_of(self.mask))

    def count(self, kind: str) -> tuple[int, int]:
        """How many heads of one kind of site are kept, and how many there are."""
        indices = self.layout.indices(kind)
        return int(self.mask[indices].sum()), len(indices)

    @property
    def standing(self) -> str:
        """Whether the choice is final, in words."""
        if self.frozen:
            return "frozen"
        if self.budget in (0, self.layout.num_heads):
            return "a budget without a choice"
        per_cost = "" if self.cost_budget is None else " per cost"
        return f"not frozen: the top by importance{per_cost} so far"
