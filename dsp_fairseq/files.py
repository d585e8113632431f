"""Reading text, writing files whole or not at all, refusing to overwrite, and hashing."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from .errors import PruningError

LAST = "checkpoint_last.pt"
"""What fairseq-train continues from, unless told otherwise."""


def refuse_existing(output: Path, flag: str = "--output") -> None:
    """Nothing is overwritten, and long work is not begun for a file that cannot be written.

    Raises:
        PruningError: the output exists, or there is no writing where it should be.
    """
    if output.exists():
        raise PruningError(f"{output} exists: remove it or give another {flag}")
    parent = next(folder for folder in output.parents if folder.exists())
    if not parent.is_dir():
        raise PruningError(f"cannot write {output}: {parent} is a file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PruningError(f"cannot write {output}: {parent} is read-only")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        PruningError: there is no such file, or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PruningError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise PruningError(f"cannot read {path}: it is not valid UTF-8") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a whole file or none, replacing a file of that name.

    Raises:
        PruningError: it cannot be written, or the disk is full.
    """
    with in_place_of(path) as part:
        try:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise PruningError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def in_place_of(output: Path, replace_folder: bool = False) -> Iterator[Path]:
    """A temporary path beside ``output`` that takes its name at the end, or disappears.

    Args:
        output: the file or folder to write.
        replace_folder: whether a folder of that name may make way.

    Raises:
        PruningError: there is no writing in that folder.
    """
    if output.is_symlink():
        output = output.resolve()  # what it leads to is written, and it stays
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except FileExistsError:
        raise PruningError(f"cannot write {output}: {output.parent} is a file") from None
    except OSError as error:
        raise PruningError(f"cannot write {output}: {error.strerror or error}") from None
    try:
        yield folder / output.name
        if replace_folder and output.is_dir():
            os.replace(output, folder / f"{output.name}.before")
        os.replace(folder / output.name, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of one file."""
    stat = path.stat()
    return _file_hash(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_hash(path: Path, size: int, changed: int) -> str:
    # Size and time of change are there for the cache: a sweep asks once a run.
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
