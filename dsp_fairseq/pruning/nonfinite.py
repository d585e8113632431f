"""Numbers that break: a loss, gradient or importance that is not finite ends the training.

The answer is asked for once an update, together with the gradient norm that fairseq itself waits
for at that point, so a GPU does not stall for it a second time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NotFiniteError, shortened

SHOWN = 20
"""How many sentences of a batch a message names."""


@dataclass(frozen=True)
class _Batch:
    ids: Tensor | None
    tokens: int
    loss: Tensor


def _unknown() -> None:
    """No checkpoint is known; a function has a name, so that models can be pickled."""


class UpdateWatch:
    """What went into the update that is being made, so that a break can be named.

    Attributes:
        last_good: finds the newest checkpoint of the training that can be used, and its updates.
        update: its number, from 1.
        scaled: whether a scaler of 16-bit gradients has its turn first: it makes the loss smaller
            as long as gradients overflow, and gives up in the end.
    """

    def __init__(self) -> None:
        self.last_good: Callable[[], tuple[Path, int] | None] = _unknown
        self.scaled = False
        self.update = 0
        self._batches: deque[_Batch] = deque(maxlen=1024)
        self._pending: list[str] = []

    def begin(self, update: int) -> None:
        """The update of this number (from 1) is being made, or is made again with other batches."""
        if update != self.update or self._pending:
            self._batches.clear()
            self._pending = []
        self.update = update

    def note(self, sample: Mapping[str, Any], loss: Tensor) -> None:
        """Keeps a micro-batch of this update in mind.

        Args:
            sample: fairseq's batch.
            loss: its loss, ``[]``; nothing waits for it here.
        """
        tokens = int(sample.get("ntokens", 0))
        self._batches.append(_Batch(sample.get("id"), tokens, loss.detach().sum()))

    def judge(self, **values: Tensor | None) -> None:
        """Ends the training if a value of this update or a loss is not finite.

        Args:
            values: what to call it (underscores for spaces) -> ``[]`` or more numbers.

        Raises:
            NotFiniteError: with the update, the batch and the last good checkpoint.
        """
        named = {name.replace("_", " "): v for name, v in values.items() if v is not None}
        if self._batches:
            named["the loss"] = torch.stack([batch.loss for batch in self._batches])
        device = next(iter(named.values())).device
        sound = torch.stack([value.isfinite().all().to(device) for value in named.values()])
        broken = [name for name, good in zip(named, sound.tolist(), strict=True) if not good]
        self._pending = broken
        # Where gradients overflow, the loss of 16 bits may as well; it is the scaler's turn.
        overflow = any(name.startswith("the gradient") for name in broken)
        if broken and not (self.scaled and overflow and "importance" not in broken):
            raise self._error(broken)

    def check_saving(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Called before a training is saved: nothing that is not finite gets into a checkpoint.

        Where the scaler of 16-bit gradients has given up, fairseq saves in the middle of that
        update, with the gradients still there: that ends the training too.

        Raises:
            NotFiniteError: with the update, the batch and the last good checkpoint.
        """
        named = dict(parameters)
        if self._pending and any(p.grad is not None for p in named.values()):
            raise self._error(self._pending)
        sound = torch.stack([p.detach().isfinite().all() for p in named.values()]).tolist()
        broken = [name for name, good in zip(named, sound, strict=True) if not good]
        if broken:
            raise self._error([shortened(broken)])

    def _error(self, broken: list[str]) -> NotFiniteError:
        verb = "is" if len(broken) == 1 else "are"
        parts = [f"update {self.update} broke: {' and '.join(broken)} {verb} not finite"]
        culprits = [b for b in self._batches if not bool(b.loss.isfinite())] or self._batches
        ids = [i for b in culprits if b.ids is not None for i in b.ids.flatten().tolist()]
        if ids:
            shown = ", ".join(map(str, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
            tokens = sum(b.tokens for b in culprits)
            parts.append(f"batch of {len(ids)} sentences, {tokens} target tokens: ids {shown}")
        sound = self.last_good()
        if sound is None:
            parts.append("nothing was saved before")
        else:
            parts.append(f"last good checkpoint: {sound[0]} of update {sound[1]}")
        return NotFiniteError("; ".join(parts))
