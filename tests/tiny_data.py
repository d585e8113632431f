"""Folders of binarised data of a few sentences, made in a moment."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from fairseq.data.indexed_dataset import make_builder

SPLITS = {"train": (4, 3), "valid": (3,), "test": (5, 2)}


LABELS = ("entailment", "neutral", "contradiction")
WORDS = tuple("abcdefghij")


def write_pairs(
    folder: Path,
    splits: Mapping[str, int] = MappingProxyType({"train": 48, "valid": 12, "test": 12}),
    labels: Sequence[str] = LABELS,
    words: Sequence[str] = WORDS,
    pairs: bool = True,
) -> Path:
    """Writes a folder for sentence classification, as fairseq-preprocess does.

    The class of a pair is how many steps its second sentence is ahead of the first.

    Args:
        folder: the folder.
        splits: the number of pairs of each.
        labels: the classes, in order.
        words: the vocabulary.
        pairs: whether there are second sentences.
    """
    draw = random.Random(1)
    parts = ("input0", "input1", "label") if pairs else ("input0", "label")
    for part in parts:
        entries = labels if part == "label" else words
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "dict.txt").write_text("".join(f"{word} 1\n" for word in entries))
    for split, number in splits.items():
        lines: dict[str, list[list[int]]] = {part: [] for part in parts}
        for i in range(number):
            start, length = draw.randrange(len(words)), draw.randrange(2, 7)
            for part, ahead in (("input0", 0), ("input1", i % len(labels))):
                tokens = [4 + (start + ahead + k) % len(words) for k in range(length)]
                lines.setdefault(part, []).append(tokens)
            lines["label"].append([4 + i % len(labels)])
        for part in parts:
            write_split(folder / part / split, lines[part])
    return folder


def write_split(prefix: Path, lines: Sequence[Sequence[int]]) -> None:
    """Writes lines of token numbers, each with the end of a sentence behind it."""
    builder = make_builder(f"{prefix}.bin", impl="mmap", vocab_size=100)
    for tokens in lines:
        builder.add_item(torch.tensor([*tokens, 2]))
    builder.finalize(f"{prefix}.idx")


def write_data(
    folder: Path,
    pair: str = "de-en",
    splits: Mapping[str, Sequence[int]] = SPLITS,
    plain: bool = True,
) -> Path:
    """Writes a folder as ``data-prep/`` does.

    Args:
        folder: the folder.
        pair: its two languages, as file names have them.
        splits: the lengths of the source sentences of each; a target sentence is longer by one.
        plain: whether to keep plain text and ``prep.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    languages = pair.split("-")
    for split, lengths in splits.items():
        for more, language in enumerate(languages):
            prefix = folder / f"{split}.{pair}.{language}"
            write_split(prefix, [[4] * (length + more - 1) for length in lengths])
            (folder / f"dict.{language}.txt").write_text("a 1\n")
            if plain:
                text = "".join("a " * (length + more - 2) + "a\n" for length in lengths)
                (folder / "raw").mkdir(exist_ok=True)
                (folder / f"raw/{split}.{('src', 'tgt')[more]}").write_text(text)
    if plain:
        names = dict(zip(("source", "target"), languages, strict=True))
        settings = {"subword": "bpe", "tokenized": False, "lowercase": False, **names}
        (folder / "prep.json").write_text(json.dumps(settings))
    return folder
