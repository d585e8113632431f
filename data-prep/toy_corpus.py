#!/usr/bin/env python3
"""Write a small German-English parallel corpus from a grammar made for this project."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from prep_common import CommandParser, positive_int, require_new, run_command, staged_folder, step
from toy_language.sampler import Sampler
from tqdm import tqdm

DESCRIPTION = """\
Write a small German-English parallel corpus from a grammar made for this project.

The sentences are short but correct: gender, case and agreement, verbs at the end of
subordinate clauses, separable verbs, modal verbs, relative clauses, numbers. Each has one
translation. No sentence comes twice, in neither language, within or across the splits. The
same seed and sizes give the same files, byte by byte.
"""

EPILOG = """\
example:
  python data-prep/toy_corpus.py --out data/toy-raw
  head -3 data/toy-raw/train.de data/toy-raw/train.en

writes train, valid and test .de and .en into data/toy-raw. prepare-toy.sh does this and
makes a fairseq data folder of it in one go.
"""

Pairs = list[tuple[str, str]]


def draw_pairs(count: int, seed: int) -> Pairs:
    """Draw pairs of which no two share their German or their English, in random order."""
    sampler = Sampler(seed)
    pairs: Pairs = []
    seen: tuple[set[str], set[str]] = (set(), set())
    with tqdm(total=count, desc="sentences", disable=None) as progress:
        while len(pairs) < count:
            pair = sampler.pair()
            if all(side not in known for side, known in zip(pair, seen, strict=True)):
                pairs.append(pair)
                for side, known in zip(pair, seen, strict=True):
                    known.add(side)
                progress.update()
    # Short sentences run out as the drawing goes on: every split gets its share of them.
    random.Random(seed).shuffle(pairs)
    return pairs


def write_corpus(folder: Path, sizes: dict[str, int], seed: int) -> None:
    """Write splits of these sizes into an existing folder."""
    pairs = iter(draw_pairs(sum(sizes.values()), seed))
    for split, size in sizes.items():
        chosen = [next(pairs) for _ in range(size)]
        for language, lines in zip(("de", "en"), zip(*chosen, strict=True), strict=True):
            write_lines(folder / f"{split}.{language}", lines)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a UTF-8 file with one sentence a line."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def build_parser() -> CommandParser:
    """Return the parser of the command line."""
    parser = CommandParser(description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    for split, size in (("train", 20000), ("valid", 500), ("test", 500)):
        parser.add_argument(
            f"--{split}",
            type=positive_int,
            default=size,
            metavar="N",
            help=f"pairs in the {split} split (default %(default)s)",
        )
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    require_new(args.out)
    sizes = {"train": args.train, "valid": args.valid, "test": args.test}
    step(f"drawing {sum(sizes.values())} sentence pairs")
    with staged_folder(args.out) as folder:
        write_corpus(folder, sizes, args.seed)
    step(f"wrote {args.out}")


if __name__ == "__main__":
    run_command(main)
