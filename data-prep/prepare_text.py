#!/usr/bin/env python3
"""Turn raw parallel text into a data folder that fairseq-train can read."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_folder import is_prepared, make_folder
from pair_corpus import SPLITS, SplitFiles, Tally, clean_pairs, describe, keep_pairs, no_empty_side
from prep_common import CommandParser, positive_int, require_new, run_command, step
from raw_text import RawFile, check_halves, read_lines
from text_settings import (
    TextSettings,
    add_common_options,
    add_text_options,
    language_code,
    text_settings,
)
from tqdm import tqdm

from dsp_text.errors import TextError

DESCRIPTION = """\
Turn raw parallel text into a data folder that fairseq-train can read.

Each split is a pair of UTF-8 files, PREFIX.SOURCE and PREFIX.TARGET (plain or .gz), one
sentence a line. Punctuation is normalised, words are tokenised (Moses rules), subwords are
learnt on the training text of both languages together, and fairseq-preprocess binarises
the result with one joined dictionary.
"""

EPILOG = """\
example:
  corpus/ holds train.de, train.en, dev.de, dev.en, test.de, test.en:

  python data-prep/prepare_text.py --source de --target en --vocab-size 8000 \\
      --train corpus/train --valid corpus/dev --test corpus/test --out data/de-en
  fairseq-train data/de-en --arch transformer ...

the folder then holds:
  train|valid|test.de-en.*  the binarised text         dict.*.txt  the joined dictionary
  raw/valid|test.src|tgt    sentences as they came in  prep.json   how all this was made
  codes.bpe, or spm.model and spm.vocab: the subword model
New text goes the same way with encode_text.py. The folder appears only when it is whole.
"""


# By split, then by language.
Corpus = dict[str, dict[str, RawFile]]


def find_raw(prefix: str, language: str) -> Path:
    """Return the plain file of this prefix and language, or else the gzipped one."""
    plain = Path(f"{prefix}.{language}")
    for path in (plain, Path(f"{plain}.gz")):
        if path.is_file():
            return path
    raise TextError(f"found neither {plain} nor {plain}.gz; check the prefix and the languages")


def check_corpus(
    prefixes: Mapping[str, str], languages: Sequence[str], expected: Mapping[str, int]
) -> Corpus:
    """Check all raw files, that their halves match and that they have the expected lines."""
    paths = {
        split: [find_raw(prefix, language) for language in languages]
        for split, prefix in prefixes.items()
    }
    return {
        split: dict(zip(languages, check_halves(halves, expected.get(split)), strict=True))
        for split, halves in paths.items()
    }


def write_splits(text: TextSettings, corpus: Corpus, files: SplitFiles) -> None:
    """Write the pairs of all splits; only from training are those left out that show nothing."""
    step("cleaning the text")
    for split, halves in corpus.items():
        tally = Tally()
        rules = [no_empty_side] if split == "train" else []
        pairs = clean_pairs([read_lines(half.path) for half in halves.values()], text.cleaners())
        lines = next(iter(halves.values())).lines
        for pair in keep_pairs(tqdm(pairs, split, lines, disable=None), rules, tally):
            files.write(split, pair)
        if tally.blanks and rules:
            tally.say()
        elif tally.blanks:
            step(f"kept as blank lines, since nothing can be seen: {tally.name_blanks()}")


def line_counts(text: str) -> dict[str, int]:
    """Parse expected line counts such as train=29000,valid=1014."""
    counts = {}
    for item in text.split(","):
        split, _, count = item.partition("=")
        if split not in SPLITS:
            raise argparse.ArgumentTypeError(f"{item!r} is not like train=29000")
        counts[split] = positive_int(count)
    return counts


def build_parser() -> CommandParser:
    """Return the parser of the command line."""
    parser = CommandParser(description=DESCRIPTION, epilog=EPILOG)
    for split in SPLITS:
        parser.add_argument(
            f"--{split}", required=True, metavar="PREFIX", help=f"prefix of the {split} files"
        )
    parser.add_argument("--source", type=language_code, default="de", help="default %(default)s")
    parser.add_argument("--target", type=language_code, default="en", help="default %(default)s")
    add_text_options(parser)
    parser.add_argument(
        "--expect-lines",
        type=line_counts,
        default={},
        metavar="SPLIT=N,...",
        help="refuse splits that have other line counts",
    )
    add_common_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    text = text_settings(args, args.source, args.target)
    if not args.if_missing:
        require_new(args.out)

    step("checking the raw text")
    prefixes = {split: getattr(args, split) for split in SPLITS}
    corpus = check_corpus(prefixes, text.languages, args.expect_lines)
    settings = text.record() | describe(corpus)
    if args.if_missing and is_prepared(args.out, settings):
        return

    def fill(files: SplitFiles) -> dict[str, Any]:
        write_splits(text, corpus, files)
        return settings

    make_folder(args.out, text, args.workers, fill)


if __name__ == "__main__":
    run_command(main)
