"""What the tests of data-prep share besides fixtures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary, data_utils

SIZES = {"train": 300, "valid": 20, "test": 30}


ODD = {
    "nothing": "",
    "space": " \t",
    "carriage return": "\r",
    "no-break space": "\u00a0",
    "NUL": "\x00",
    "controls": "\x01\x02\x1f",
    "line separator": "\u2028",
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "replacement character": "\ufffd",
    "SentencePiece's space": "\u2581",
    "Hangul filler": "\u3164",
    "empty Braille": "\u2800",
}
"""Lines in which nothing can be seen."""


def put_lines(path: Path, content: dict[int, str]) -> None:
    """Replace lines, which are counted from 1."""
    text = lines(path)
    for number, line in content.items():
        text[number - 1] = line
    path.write_bytes("".join(f"{line}\n" for line in text).encode())


def prepare_argv(corpus: Path, out: Path, *more: str) -> list[str]:
    """The arguments that prepare a corpus folder."""
    prefixes = [part for split in SIZES for part in (f"--{split}", str(corpus / split))]
    return [*prefixes, "--out", str(out), "--vocab-size", "200", *more]


def assert_refused(result: subprocess.CompletedProcess, fragment: str) -> None:
    """A script ended with one line of error that holds this."""
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert fragment in result.stderr


def lines(path: Path) -> list[str]:
    """The lines of a text file, which only newlines end."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def names(folder: Path) -> set[str]:
    """What a folder holds."""
    return {path.name for path in folder.iterdir()}


def settings_of(data: Path) -> dict[str, Any]:
    """The prep.json of a prepared folder."""
    return json.loads((data / "prep.json").read_text(encoding="utf-8"))


def binarised(data: Path, split: str, language: str) -> list[str]:
    """The tokens of one half of a prepared folder, sentence by sentence."""
    settings = settings_of(data)
    dictionary = Dictionary.load(str(data / f"dict.{language}.txt"))
    pair = f"{settings['source']}-{settings['target']}"
    dataset = data_utils.load_indexed_dataset(str(data / f"{split}.{pair}.{language}"), dictionary)
    return [dictionary.string(sentence) for sentence in dataset]


def words(tokens: str) -> str:
    """BPE tokens joined to words again."""
    return f"{tokens} ".replace("@@ ", "").strip()


def generated(data: Path, path: Path) -> Path:
    """Write what fairseq-generate would print if it translated the test split perfectly."""
    target = settings_of(data)["target"]
    with path.open("w", encoding="utf-8") as stream:
        for number, tokens in enumerate(binarised(data, "test", target)):
            stream.write(f"T-{number}\t{tokens}\nH-{number}\t-0.1\t{tokens}\n")
    return path
