"""Folders of binarised data of a few sentences, made in a moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from fairseq.data.indexed_dataset import make_builder

SPLITS = {"train": (4, 3), "valid": (3,), "test": (5, 2)}


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
            builder = make_builder(f"{prefix}.bin", impl="mmap", vocab_size=10)
            for length in lengths:
                builder.add_item(torch.tensor([4] * (length + more - 1) + [2]))
            builder.finalize(f"{prefix}.idx")
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
