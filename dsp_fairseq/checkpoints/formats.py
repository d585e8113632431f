"""The number of the format that gates are stored in, and the upgrades from earlier formats.

1. importance, mask, frozen, last_change.
2. budgets beside them: a model may be trained for several K.
3. the number of the format, in ``head_gates.format``; exported models have it too.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor

from ..errors import PruningError

FORMAT = 3
"""What this version writes."""

GATES = "head_gates."
"""How all that belongs to the choice of heads begins, among the weights."""

FORMAT_KEY = f"{GATES}format"
"""The format's name among the weights, so that it survives whatever handles weights."""

IMPORTANCE_KEY = f"{GATES}importance"
MASK_KEY = f"{GATES}mask"
FROZEN_KEY = f"{GATES}frozen"
BUDGETS_KEY = f"{GATES}budgets"
LAST_CHANGE_KEY = f"{GATES}last_change"
"""The names of the state of ``HeadGates``, which says what each is."""

POOLER = "classification_heads.pooler."
"""Among the weights of an import, a head without classes, from which new heads start."""

EMBEDDING_PATHS = ("encoder_embed_path", "decoder_embed_path")
"""Arguments that name text files of embeddings; a checkpoint has these weights itself."""


def format_of(weights: MutableMapping[str, Tensor]) -> int | None:
    """The format of a state dict; None where it has no gates, as of a dense model."""
    if FORMAT_KEY in weights:
        number = weights[FORMAT_KEY]
        return int(number) if number.numel() == 1 and bool(number.isfinite()) else 0
    if IMPORTANCE_KEY not in weights:
        return None
    return 2 if BUDGETS_KEY in weights else 1


def check_format(number: Any, where: str) -> None:
    """Refuses what a later version wrote.

    Raises:
        PruningError: a number that is not from 1 to :data:`FORMAT`.
    """
    if not isinstance(number, int) or number < 1:
        raise PruningError(f"{where} is damaged: {FORMAT_KEY} is no number of a format")
    if number > FORMAT:
        raise PruningError(
            f"{where} has format {number}, and this version of dsp-fairseq knows the formats 1 to "
            f"{FORMAT}: install a newer one"
        )


_OLD_POSITIONS = ("embed_positions._float_tensor", "embed_positions.weights")
"""What fairseq up to 0.12.2 stored of sinusoidal positions, which are computed."""


def upgrade_weights(weights: MutableMapping[str, Tensor], where: str) -> None:
    """Brings a state dict from any earlier format to :data:`FORMAT`, in place.

    Args:
        weights: a state dict; one without gates only loses what fairseq itself ignores by now.
        where: what to call it in messages.

    Raises:
        PruningError: its format is newer than this version.
    """
    for name in [name for name in weights if name.endswith(_OLD_POSITIONS)]:
        del weights[name]
    found = format_of(weights)
    if found is None:
        return
    check_format(found, where)
    if found < 2:
        _add_budgets(weights, where)
    weights[FORMAT_KEY] = torch.tensor(float(FORMAT))


def trained_budgets(budgets: Tensor) -> list[int]:
    """The K that a model was trained for, from its ``head_gates.budgets`` ``[N+1]``."""
    return budgets.nonzero().flatten().tolist()


def _add_budgets(weights: MutableMapping[str, Tensor], where: str) -> None:
    mask = weights.get(MASK_KEY)
    if mask is not None:
        budgets = torch.zeros(mask.numel() + 1)
        if not 0 <= float(mask.sum()) <= mask.numel():
            raise PruningError(f"{where} is damaged: its mask keeps more heads than there are")
        budgets[int(mask.sum())] = 1.0
        weights[BUDGETS_KEY] = budgets
