"""Writing files and folders as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_place_of(output: Path) -> Iterator[Path]:
    """A temporary path beside ``output`` that takes its name at the end, or disappears."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield folder / output.name
        os.replace(folder / output.name, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
