"""What the tests of data-prep share besides fixtures."""

from __future__ import annotations

from pathlib import Path

SIZES = {"train": 300, "valid": 20, "test": 30}


def prepare_argv(corpus: Path, out: Path, *more: str) -> list[str]:
    """The arguments that prepare a corpus folder."""
    prefixes = [part for split in SIZES for part in (f"--{split}", str(corpus / split))]
    return [*prefixes, "--out", str(out), "--vocab-size", "200", *more]
