"""Raw text files: found, checked once, and read sentence by sentence."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from dsp_text.errors import TextError

# Everything some reader takes for a line end, besides the newline itself.
_OTHER_LINE_ENDS = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")

Line = tuple[str, str]
"""The place of a sentence, as messages name it, and the sentence."""


def decode_lines(lines: Iterable[bytes], name: object) -> Iterator[Line]:
    """Yield the sentences of a UTF-8 file, where nothing but a newline ends a line."""
    # Of a name that is not UTF-8, what messages and files of places can hold.
    name = os.fsencode(str(name)).decode("utf-8", "replace")
    for number, raw in enumerate(lines, start=1):
        place = f"{name}, line {number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise TextError(f"{place}: not valid UTF-8; convert the file to UTF-8") from error
        yield place, _OTHER_LINE_ENDS.sub(" ", line.removesuffix("\n").removesuffix("\r"))


def read_lines(path: Path, name: object = None) -> Iterator[Line]:
    """Yield the sentences of a plain or gzipped UTF-8 file, which messages call by this name."""
    with _open(path) as stream:
        yield from decode_lines(stream, name or path)


@dataclass(frozen=True)
class RawFile:
    """One raw text file that passed the checks; the hash is of its decompressed bytes."""

    path: Path
    lines: int
    sha256: str


class _HashingReader:
    """Iterates over a stream's lines while hashing their bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for line in self._stream:
            self._digest.update(line)
            yield line

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh9": "bzip2",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""How compressed files begin."""


def _refuse_packed(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(8)
    for magic, kind in _PACKED.items():
        if start.startswith(magic):
            raise TextError(
                f"{path} is compressed by {kind}: unpack it, or give a gzip file that ends in .gz"
            )


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        _refuse_packed(path)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        try:
            yield stream
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise TextError(f"{path} is not a whole gzip file; fetch it again") from error


def check_raw(path: Path) -> RawFile:
    """Read a raw file once, checking every line, counting and hashing."""
    with _open(path) as stream:
        reader = _HashingReader(stream)
        lines = sum(1 for _ in tqdm(decode_lines(reader, path), path.name, disable=None))
    if not lines:
        raise TextError(f"{path} has no lines; give a file with text")
    return RawFile(path, lines, reader.hexdigest())


def check_halves(paths: Sequence[Path], expected: int | None = None) -> list[RawFile]:
    """Check two files that have to match line by line, and to have as many lines as expected."""
    halves = first, second = [check_raw(path) for path in paths]
    for half in halves:
        if expected is not None and half.lines != expected:
            raise TextError(
                f"{half.path} has {half.lines} lines where {expected} were expected; "
                "give the right file"
            )
    if first.lines != second.lines:
        raise TextError(
            f"{first.path} has {first.lines} lines but {second.path} has {second.lines}; "
            "give files that match line by line"
        )
    return halves
