"""Writing files and folders as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_place_of(output: Path, replace_folder: bool = False) -> Iterator[Path]:
    """A temporary path beside ``output`` that takes its name at the end, or disappears.

    Args:
        output: the file or folder to write.
        replace_folder: whether a folder of that name may make way.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield folder / output.name
        if replace_folder and output.is_dir():
            os.replace(output, folder / "before")
        os.replace(folder / output.name, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
