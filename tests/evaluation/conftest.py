"""Folders of prepared text, and outputs of fairseq-generate that fit them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fairseq.data import Dictionary
from prepared_text import ENOUGH, TEXTS, generated

from dsp_text.cleaner import Cleaner
from dsp_text.settings import LATER_SETTINGS
from dsp_text.subwords import learn_subwords, load_subwords


@pytest.fixture
def prepare(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """Makes a folder as data-prep/ does, but for binarised text, and a perfect output for it.

    Both languages have the same numbers of lines; the output is of the test split.
    """

    def make(
        target: str = "en",
        source: str = "de",
        texts: dict[str, Sequence[str]] = TEXTS,
        form: Callable[[str], str] = str,
        **settings: object,
    ) -> tuple[Path, Path]:
        data = tmp_path / "data"
        (data / "raw").mkdir(parents=True)
        prep = {"subword": "bpe", "lowercase": False, "source": source, "target": target}
        prep = LATER_SETTINGS | prep | settings
        prep.setdefault("tokenized", prep["subword"] == "bpe")
        (data / "prep.json").write_text(json.dumps(prep))
        cleaned = {}
        for side, ending in (("source", "src"), ("target", "tgt")):
            lines = list(texts[prep[side]]) * ENOUGH
            text = "".join(f"{line}\n" for line in lines)
            (data / f"raw/test.{ending}").write_text(text, encoding="utf-8")
            cleaned[side] = [Cleaner.from_settings(prep, side)(line) for line in lines]
        learn_subwords(prep["subword"], [*cleaned["source"], *cleaned["target"]], 110, data)
        encode, dictionary = load_subwords(prep["subword"], data), Dictionary()
        encoded = {side: [encode(line) for line in lines] for side, lines in cleaned.items()}
        for line in (*encoded["source"], *encoded["target"]):
            dictionary.encode_line(line)
        for language in (source, target):
            dictionary.save(str(data / f"dict.{language}.txt"))
        output = tmp_path / "test.out"
        output.write_text(generated([form(line) for line in encoded["target"]]), encoding="utf-8")
        (tmp_path / "reverse.out").write_text(generated(encoded["source"]), encoding="utf-8")
        return output, data

    return make
