"""What fairseq forces on a model: its calls, and the moments in training that they stand for.

fairseq has no hooks for most of what pruning must do. Each override here says which call stands in
for which moment, and why; a model implements the ``on_...`` methods only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from typing import Any

from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from ..errors import exits_in_one_line


class Stage(IntEnum):
    """How far a model has come; it never goes back."""

    BUILT = 0
    CHECKED = 1
    """A training will start, and its flags and the file that it starts from were looked at."""
    LOADED = 2
    TRAINING = 3


class FairseqHooks(BaseFairseqModel):
    """Calls the ``on_...`` methods, which do nothing here, at their moments.

    Put it before fairseq's model among the bases.
    """

    _stage = Stage.BUILT

    # ---- the moments

    def on_training_planned(self) -> None:
        """A training will start; no checkpoint was read yet."""

    def on_weights_read(self, weights: dict[str, Tensor]) -> None:
        """Weights were read from a checkpoint, and can be changed in place."""

    def on_weights_loaded(self) -> None:
        """Weights were loaded."""

    def on_training_started(self, loaded: bool) -> None:
        """The first forward pass of a training; ``loaded``: with weights of a checkpoint."""

    def on_update(self, number: int) -> None:
        """Update ``number``, from 1, is being made; called for each of its micro-batches."""

    def on_training_forward(self) -> AbstractContextManager[None]:
        """A forward pass in training, which runs inside what this returns."""
        return nullcontext()

    def on_evaluation(self) -> None:
        """The model leaves training."""

    def on_saving(self) -> None:
        """The weights of a training are about to be saved."""

    # ---- the calls

    @exits_in_one_line
    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        # Between building a model and reading the checkpoint that training starts from, fairseq-
        # train counts the parameters. No command that takes the model from a checkpoint asks for
        # them before its weights are loaded.
        if self._stage == Stage.BUILT:
            self._stage = Stage.CHECKED
            self.on_training_planned()
        return super().parameters(recurse)

    @exits_in_one_line
    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        # fairseq means it for names of older versions; it is all that sees the weights before
        # PyTorch compares them with the model.
        super().upgrade_state_dict_named(state_dict, name)
        self.on_weights_read(state_dict)

    @exits_in_one_line
    def load_state_dict(self, state_dict: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        result = super().load_state_dict(state_dict, *args, **kwargs)
        self._stage = max(self._stage, Stage.LOADED)
        self.on_weights_loaded()
        return result

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As fairseq's model."""
        if not self.training:
            return super().forward(*args, **kwargs)
        if self._stage < Stage.TRAINING:
            self._start_training()
        with self.on_training_forward():
            return super().forward(*args, **kwargs)

    @exits_in_one_line
    def _start_training(self) -> None:
        loaded = self._stage == Stage.LOADED
        self._stage = Stage.TRAINING
        self.on_training_started(loaded)

    def set_num_updates(self, num_updates: int) -> None:
        # Called with the number of completed updates, for each micro-batch, and before a
        # checkpoint is loaded too, with the number of that checkpoint.
        super().set_num_updates(num_updates)
        self.on_update(num_updates + 1)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        if not mode:
            self.on_evaluation()
        return self

    @exits_in_one_line
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        # fairseq has no hook before it saves, and whoever else asks for the weights in the midst
        # of a training gets the same answer.
        if self._stage == Stage.TRAINING:
            self.on_saving()
        return super().state_dict(*args, **kwargs)

    def make_generation_fast_(self, **kwargs: Any) -> None:
        # fairseq prepares a model for generation first and leaves training afterwards.
        self.eval()
        super().make_generation_fast_(**kwargs)
