"""How long work says how far it is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

EVERY = 20.0
"""Seconds between two lines of a log."""

_Item = TypeVar("_Item")


class _Log:
    """The clock of all tasks, since work may consist of many short ones."""

    said = time.monotonic()
    """When it last got a line, or the work began."""


def begin_work() -> None:
    """Starts the clock: a command that ends soon says nothing."""
    _Log.said = time.monotonic()


def progress(items: Iterable[_Item], total: int, what: str, unit: str) -> Iterator[_Item]:
    """The items, while standard error says how many are done.

    Args:
        items: what is worked on.
        total: how many they are.
        what: what is done with them, as in ``translating``.
        unit: what they are, as in ``batches``.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, what, total, leave=False)
        return
    for number, item in enumerate(items):
        if time.monotonic() - _Log.said >= EVERY:
            print(f"{what}: {number} of {total} {unit} done", file=sys.stderr, flush=True)
            _Log.said = time.monotonic()
        yield item
