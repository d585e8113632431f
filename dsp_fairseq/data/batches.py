"""The batches of a data split, for the tools that run models over it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import torch
from fairseq import utils
from fairseq.models import BaseFairseqModel

from ..errors import PruningError
from .dataspec import data_of, refuse_unreadable

_SEEDS = 2**32 - 1
"""NumPy takes no others, and fairseq adds the epoch."""


class Batches(Protocol):
    """Batches that can be counted beforehand."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def __len__(self) -> int: ...


def load_split(task: Any, split: str) -> None:
    """Loads a split of the task's data.

    Raises:
        PruningError: there is no such split, or nothing in it.
    """
    with refuse_unreadable(data_of(task), split):
        task.load_dataset(split, task_cfg=task.cfg)


def split_batches(
    task: Any,
    models: Sequence[BaseFairseqModel],
    split: str,
    max_tokens: int,
    shuffle: bool = False,
    seed: int = 1,
) -> Batches:
    """All batches of a loaded split, in an order that only the seed decides.

    Sentences that are too long for the models are left out.

    Raises:
        PruningError: a sentence is longer than a batch may be.
    """
    try:
        return task.get_batch_iterator(
            task.dataset(split),
            max_tokens=max_tokens,
            max_positions=utils.resolve_max_positions(
                task.max_positions(), *(model.max_positions() for model in models)
            ),
            ignore_invalid_inputs=True,
            required_batch_size_multiple=1,
            seed=seed % _SEEDS,
            # A cached iterator would shuffle anew each time.
            disable_iterator_cache=True,
        ).next_epoch_itr(shuffle=shuffle)
    except AssertionError as error:
        raise PruningError(f"--max-tokens {max_tokens} is too small: {error}") from None


def sample_batches(
    task: Any,
    model: BaseFairseqModel,
    split: str,
    max_tokens: int,
    number: int | None,
    seed: int,
) -> tuple[Iterator[dict[str, Any]], int]:
    """Some batches of a split, drawn by the seed, on the model's device; and how many they are.

    Args:
        number: how many at most; None for all.

    Raises:
        PruningError: there is no such split, or no sentence in it that the model can take.
    """
    if split not in task.datasets:
        load_split(task, split)
    batches = split_batches(task, [model], split, max_tokens, shuffle=True, seed=seed)
    number = min(len(batches), number or len(batches))
    if not number:
        raise PruningError(
            f"the {split} split of {data_of(task)} holds no sentence that the model can take"
        )
    return (beside(model, batch) for batch in islice(batches, number)), number


def without_data(task: Any) -> Any:
    """The task with nothing loaded: what is read through it leaves the batches of a training alone.

    fairseq's multilingual datasets draw anew whenever somebody asks for batches.
    """
    task = copy.copy(task)
    task.datasets, task.dataset_to_epoch_iter = {}, {}
    return task


def to_gpu(model: BaseFairseqModel, cpu: bool) -> None:
    """Moves a model to the GPU if there is one, unless ``cpu``."""
    if torch.cuda.is_available() and not cpu:
        model.cuda()


def beside(model: BaseFairseqModel, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch on the model's device."""
    return utils.move_to_cuda(batch) if next(model.parameters()).is_cuda else batch
