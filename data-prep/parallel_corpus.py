#!/usr/bin/env python3
"""Turn two text files that match line by line into a data folder for fairseq-train."""

from __future__ import annotations

import argparse
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_folder import is_prepared, make_folder
from pair_corpus import (
    KEPT,
    SPLITS,
    DuplicateRule,
    LengthRule,
    Occurrences,
    Rule,
    SplitFiles,
    Tally,
    clean_pairs,
    keep_pairs,
    no_empty_side,
)
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

HELD_OUT_SHARE = 0.02
HELD_OUT_MOST = 2000

DESCRIPTION = f"""\
Turn two text files that match line by line into a data folder for fairseq-train.

Punctuation is normalised and words are tokenised (Moses rules). Pairs with an empty side, long
and uneven ones and duplicates are left out, and their numbers said. Then valid and test are drawn
at random, {HELD_OUT_SHARE:.0%} of the pairs each and no more than {HELD_OUT_MOST:,}, from those
whose sentences come only once on either side: nothing that is tested was trained on. Subwords
are learnt on the rest, and fairseq-preprocess binarises all with one joined dictionary.
"""

EPILOG = """\
example:
  bash data-prep/prepare-parallel.sh --source-file my.de --target-file my.en --out data/mine
  fairseq-train data/mine --arch transformer ...

The files may be gzipped (.gz). The folder is laid out as prepare_text.py --help describes, and
appears only when it is whole.
"""


def find_file(path: Path, option: str) -> Path:
    """Return the path of an existing file."""
    if not path.is_file():
        raise TextError(f"there is no file {path}; give another {option}")
    return path


def guess_language(path: Path, option: str) -> str:
    """Return the language that a file's name ends in, as in my.de or my.de.gz."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if not re.fullmatch(r"\.[a-z]{2}", suffix):
        raise TextError(f"{path} does not end in a language such as .de; give {option} as well")
    return suffix[1:]


def split_sizes(pairs: int, valid: int | None, test: int | None) -> dict[str, int]:
    """Return the sizes of valid and test, given or by default."""
    default = max(1, min(HELD_OUT_MOST, int(pairs * HELD_OUT_SHARE)))
    return {"valid": valid or default, "test": test or default}


def draw_splits(
    pairs: int, candidates: Sequence[int], sizes: dict[str, int], seed: int
) -> dict[int, str]:
    """Draw the positions of the held-out pairs; all others are for training."""
    wanted = sum(sizes.values())
    if wanted > len(candidates) or wanted >= pairs:
        raise TextError(
            f"{pairs:,} pairs are left, {len(candidates):,} of them with sentences that come once: "
            f"too few for {sizes['valid']:,} in valid, {sizes['test']:,} in test and the rest in "
            "train; give more text or a smaller --valid and --test"
        )
    drawn = iter(random.Random(seed).sample(candidates, wanted))
    return {next(drawn): split for split, size in sizes.items() for _ in range(size)}


def write_splits(
    args: argparse.Namespace, text: TextSettings, halves: list[RawFile], files: SplitFiles
) -> None:
    """Write the kept pairs of the two files into their splits."""
    step("cleaning the text")
    rules: list[Rule] = [no_empty_side, LengthRule(args.max_length, args.max_ratio)]
    if not args.keep_duplicates:
        rules.append(DuplicateRule())
    tally, occurrences = Tally(), Occurrences()
    pairs = clean_pairs([read_lines(half.path) for half in halves], text.cleaners())
    pairs = tqdm(pairs, "pairs", halves[0].lines, disable=None)
    for pair in keep_pairs(pairs, rules, tally):
        files.write(KEPT, pair)
        occurrences.add((pair[0].cleaned, pair[1].cleaned))
    tally.say()

    kept = files.lines[KEPT]
    sizes = split_sizes(kept, args.valid, args.test)
    held_out = draw_splits(kept, occurrences.unique(), sizes, args.seed)
    for position, pair in enumerate(files.pairs(KEPT)):
        files.write(held_out.get(position, "train"), pair)


def describe_choice(args: argparse.Namespace, halves: list[RawFile]) -> dict[str, object]:
    """Return what decides which pairs go where, for prep.json."""
    names = ("max_length", "max_ratio", "keep_duplicates", "valid", "test", "seed")
    return {name: getattr(args, name) for name in names} | {
        f"sha256_{side}_file": half.sha256
        for side, half in zip(("source", "target"), halves, strict=True)
    }


def ratio(text: str) -> float:
    """Parse an option value that must be a number of at least 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return value


def build_parser() -> CommandParser:
    """Return the parser of the command line."""
    parser = CommandParser(prog="prepare-parallel.sh", description=DESCRIPTION, epilog=EPILOG)
    for side in ("source", "target"):
        parser.add_argument(
            f"--{side}-file", type=Path, required=True, metavar="FILE", help=f"{side} sentences"
        )
        parser.add_argument(
            f"--{side}", type=language_code, help="language (default: what the file's name ends in)"
        )
    add_text_options(parser)
    parser.add_argument(
        "--max-length",
        type=positive_int,
        default=175,
        metavar="N",
        help="words that a sentence may have (default %(default)s)",
    )
    parser.add_argument(
        "--max-ratio",
        type=ratio,
        default=3.0,
        metavar="R",
        help="how many times longer one side may be than the other (default %(default)g)",
    )
    parser.add_argument(
        "--keep-duplicates", action="store_true", help="keep pairs that come several times"
    )
    for split in SPLITS[1:]:
        parser.add_argument(
            f"--{split}", type=positive_int, metavar="N", help=f"pairs in the {split} split"
        )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the drawing of valid and test (default 1)"
    )
    add_common_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    paths = [
        find_file(args.source_file, "--source-file"),
        find_file(args.target_file, "--target-file"),
    ]
    text = text_settings(
        args,
        args.source or guess_language(args.source_file, "--source"),
        args.target or guess_language(args.target_file, "--target"),
    )
    if not args.if_missing:
        require_new(args.out)

    step("checking the raw text")
    halves = check_halves(paths)
    settings = text.record() | describe_choice(args, halves)
    if args.if_missing and is_prepared(args.out, settings):
        return

    def fill(files: SplitFiles) -> dict[str, Any]:
        write_splits(args, text, halves, files)
        return settings | files.describe()

    make_folder(args.out, text, args.workers, fill)


if __name__ == "__main__":
    run_command(main)
