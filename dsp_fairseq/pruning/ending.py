"""When a training ends: how many updates its epochs are, and what is done at its end."""

from __future__ import annotations

import atexit
import logging
import math
from collections.abc import Callable
from typing import Any

import torch

from ..data.dataspec import DataSpec, data_folders
from .flags import training_flag

_TRAINING = logging.getLogger("fairseq_cli.train")


def updates_by_epochs(args: Any) -> int | None:
    """About how many updates ``--max-epoch`` allows; None where that cannot be known.

    Args:
        args: the model's arguments, with the flags of the training.
    """
    names = ("task", "source_lang", "target_lang")
    spec = DataSpec.of({name: training_flag(args, name) for name in names})
    epochs, data = training_flag(args, "max_epoch"), training_flag(args, "data")
    if not (epochs and data and spec.is_translation) or len(data_folders(data)) > 1:
        return None
    folder, split = data_folders(data)[0], training_flag(args, "train_subset") or "train"
    if any(folder.glob(f"{split}1.*")):
        return None  # fairseq trains on train, train1, train2, ... together
    batches = spec.count_batches(
        folder,
        split,
        training_flag(args, "max_tokens"),
        training_flag(args, "batch_size"),
        training_flag(args, "required_batch_size_multiple") or 1,
    )
    if batches is None:
        return None
    of_process = math.ceil(batches / (training_flag(args, "distributed_world_size") or 1))
    frequencies = list(training_flag(args, "update_freq") or [1])[:epochs]
    updates = [math.ceil(of_process / int(frequency)) for frequency in frequencies]
    # The last one holds for all further epochs.
    return sum(updates) + (epochs - len(updates)) * updates[-1]


def at_the_end(then: Callable[[], None]) -> None:
    """Has something done once the training that begins now has ended, whatever ends it."""
    for handler in list(_TRAINING.handlers):
        if isinstance(handler, _EndOfTraining):  # of a training in this process that broke off
            _TRAINING.removeHandler(handler)
    if _TRAINING.isEnabledFor(logging.INFO):
        _TRAINING.addHandler(_EndOfTraining(then))
    elif not torch.distributed.is_initialized():
        # Its log was made quiet, as it is in all processes of a training but the first.
        atexit.register(then)


class _EndOfTraining(logging.Handler):
    """fairseq has no hook at the end of a training; it says in its log that it is done."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("done training in"):
            _TRAINING.removeHandler(self)
            self._then()
