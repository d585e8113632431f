"""The logs of training: how far it is, and what it logged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG_FILE = "train.log"

_LOG_TAIL = 1 << 16
_FROZE = re.compile(r"\| froze .* heads at update (\d+) ")


def train_values(text: str) -> Iterator[dict[str, Any]]:
    """What fairseq-train logged with ``--log-format json`` while it trained, line by line."""
    for line in text.splitlines():
        _, found, values = line.partition(" | train_inner | ")
        if found:
            with suppress(ValueError):  # cut off by a kill
                yield json.loads(values)


def updates_done(folder: Path) -> int | None:
    """The last update that the log tells of; None before the first."""
    log = folder / LOG_FILE
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL))
        text = file.read().decode("utf-8", "replace")
    numbers = [int(values["num_updates"]) for values in train_values(text)]
    return numbers[-1] if numbers else None


@dataclass(frozen=True)
class Curve:
    """What one training logged; all lists are of one length.

    Attributes:
        updates: numbers of updates, rising.
        temperature: at each of them.
        margin: importance of the K-th head less that of the next.
        frozen_at: the update of the freeze; where the log does not say it, the first that was
            logged as frozen; None if there was none.
    """

    updates: tuple[int, ...]
    temperature: tuple[float, ...]
    margin: tuple[float, ...]
    frozen_at: int | None


def read_curve(path: Path, budget: int | None = None) -> Curve | None:
    """Reads the JSON lines (``--log-format json``) that fairseq-train wrote while it trained.

    A resumed training logs some updates twice: the later counts.

    Args:
        path: the log.
        budget: whose margin is meant, of several that one training serves.

    Returns:
        the curve, or None if there is no such file or no temperature and margin in it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    points: dict[int, tuple[float, ...]] = {}
    for values in train_values(text):
        with suppress(ValueError, KeyError, TypeError):
            margin = values.get(f"margin_{budget}", values["margin"])
            numbers = values["temperature"], margin, values.get("frozen", 0)
            points[int(values["num_updates"])] = tuple(map(float, numbers))
    if not points:
        return None
    said = _FROZE.findall(text)
    updates = sorted(points)
    return Curve(
        tuple(updates),
        tuple(points[u][0] for u in updates),
        tuple(points[u][1] for u in updates),
        int(said[-1]) if said else next((u for u in updates if points[u][2] >= 1), None),
    )
