"""What the ``run.yaml`` of a run says of it, as far as it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PruningError
from .provenance import data_hash
from .recipe import Recipe, read_as, read_yaml

RUN_FILE = "run.yaml"


@dataclass(frozen=True)
class Record:
    """What a run was made with; None is what its file does not say.

    Attributes:
        recipe: with all flags settled.
        data: the folder of its data, as it was given.
        data_sha256: of that data.
        package_sha256: of the user's own package.
        device: what it was trained on.
        start_seconds: of training behind the checkpoint that it started from.
    """

    recipe: Recipe | None = None
    data: str | None = None
    data_sha256: str | None = None
    package_sha256: str | None = None
    device: str | None = None
    start_seconds: float | None = None


def read_record(run: Path) -> Record:
    """The record in the folder of a run; those of earlier versions say less."""
    path = run / RUN_FILE
    try:
        stored = read_yaml(path)
    except PruningError:
        return Record()
    nested = stored.get("recipe")
    recipe, settings = None, nested if isinstance(nested, Mapping) else {}
    with suppress(PruningError):
        recipe = read_as(Recipe, settings, path) if settings else None
    seconds = None
    with suppress(KeyError, TypeError, ValueError):
        seconds = float(stored["start_seconds"])
    return Record(
        recipe,
        _text(stored.get("data") or settings.get("data")),
        _text(stored.get("data_sha256")),
        _text(stored.get("package_sha256")),
        _text(stored.get("device")),
        seconds,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def data_folder(run: Path) -> Path | None:
    """The prepared data that a run was made from, where it is there and still the same."""
    record = read_record(run)
    for folder in (Path(record.data), run / record.data) if record.data else ():
        if (folder / "prep.json").is_file() and _is_still(folder, record.data_sha256):
            return folder
    return None


def _is_still(folder: Path, sha256: str | None) -> bool:
    with suppress(PruningError):
        return sha256 is None or data_hash(folder) == sha256
    return False
