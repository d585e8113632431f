"""prep.json, the record of how a data folder was made, and what it says of the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .cleaner import Cleaner
from .errors import TextError
from .subwords import Transform, load_subwords

FORMAT_VERSION = 1
SETTINGS_FILE = "prep.json"

# Settings that came after the first folders were made, with what was done before them.
LATER_SETTINGS = {"normalized": True, "escaped": False, "counts_merges": False}


def read_settings(data_dir: Path) -> dict[str, Any]:
    """Read the prep.json of a prepared data folder; raises TextError where there is none."""
    path = data_dir / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise TextError(
            f"{data_dir} holds no {SETTINGS_FILE}; give a folder made by prepare_text.py"
        ) from None
    except ValueError as error:
        raise TextError(f"{path} is not valid JSON; prepare the data again") from error
    if (
        not isinstance(settings, dict)
        or settings.get("format_version", FORMAT_VERSION) != FORMAT_VERSION
    ):
        raise TextError(f"{path} is not of format version {FORMAT_VERSION}; prepare the data again")
    return LATER_SETTINGS | settings


def load_encoder(data_dir: Path, side: str = "source") -> Transform:
    """Return what turned the raw sentences of one side into the tokens of `data_dir`."""
    settings = read_settings(data_dir)
    try:
        clean = Cleaner.from_settings(settings, side)
        split = load_subwords(settings["subword"], data_dir)
    except KeyError as error:
        path = data_dir / SETTINGS_FILE
        raise TextError(f"{path} lacks {error}; prepare the data again") from error
    return lambda sentence: split(clean(sentence))
