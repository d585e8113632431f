"""Which attention heads a model keeps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..estimators.topk import margin
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
    """

    layout: HeadLayout
    importance: Tensor | None
    mask: Tensor
    frozen: bool
    budget: int

    @property
    def kept(self) -> dict[Site, list[int]]:
        """Per site, the numbers of the heads that are kept."""
        return self.layout.kept(self.mask)

    @property
    def margin(self) -> float | None:
        """Importance ranked K-th less the next, as in the training log; None without a choice."""
        if self.importance is None or self.budget in (0, self.layout.num_heads):
            return None
        return float(margin(self.importance, self.budget))

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
        return "not frozen: the top by importance so far"
