#!/usr/bin/env python3
"""Turn the IWSLT14 German-English archive into a data folder, as the field prepares it."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import os
import re
import shutil
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data_folder import is_prepared, make_folder
from pair_corpus import (
    LengthRule,
    Rule,
    SplitFiles,
    Tally,
    clean_pairs,
    keep_pairs,
    no_empty_side,
)
from prep_common import CommandParser, positive_int, require_new, run_command, step
from raw_text import Line, read_lines
from text_settings import TextSettings, add_common_options, check_direction
from tqdm import tqdm

from dsp_text.errors import TextError

URL = "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz"
LANGUAGES = ("de", "en")
TRAIN = "train.tags.de-en"
TESTS = tuple(
    f"IWSLT14.{name}.de-en"
    for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
)
FILES = tuple(
    name
    for language in LANGUAGES
    for name in (f"{TRAIN}.{language}", *(f"{test}.{language}.xml" for test in TESTS))
)
STANDARD_LINES = {"train": 160239, "valid": 7283, "test": 6750}

LONGEST = 175
RATIO = 1.5
VALID_EVERY = 23
"""Every 23rd kept training pair goes to valid."""

TIMEOUT = 20
"""Seconds without an answer after which a download has failed."""

DESCRIPTION = f"""\
Turn the IWSLT14 German-English archive into a data folder, as the field prepares it.

Lines with <url>, <talkid> or <keywords> go, the tags of titles and descriptions are taken off;
words are tokenised and special characters escaped (Moses rules, by sacremoses); training pairs
with an empty side, with more than {LONGEST} words, or {RATIO} times longer on one side are left
out; everything is lowercased; every {VALID_EVERY}rd pair goes to valid; dev2010, dev2012 and
tst2010-2012 are the test split; 10,000 BPE merges are learnt on both languages together.
"""

EPILOG = """\
example:
  bash data-prep/prepare-iwslt14.sh --from de-en.tgz --out data/iwslt14-de-en
  fairseq-train data/iwslt14-de-en --arch transformer_iwslt_de_en --share-all-embeddings ...

Without --from the archive is downloaded (IWSLT14_URL names another place). Line counts other
than the standard 160,239 / 7,283 / 6,750 (train, valid, test) give a warning. The folder is laid
out as prepare_text.py --help describes, and appears only when it is whole.
"""


def download(url: str, path: Path) -> None:
    """Fetch the archive, showing the progress."""
    step(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as stream:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(
                desc=path.name, total=total, unit="B", unit_scale=True, disable=None
            ) as progress:
                while block := answer.read(1 << 16):
                    stream.write(block)
                    progress.update(len(block))
        if total is not None and path.stat().st_size != total:
            raise OSError("broken off")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TextError(
            f"could not download {url} ({reason}); "
            "get de-en.tgz another way and give it with --from"
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Copy the files of the corpus out of the archive, wherever in it they lie."""
    step(f"unpacking {archive}")
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = Path(member.name).name
                wanted = name in FILES and member.isfile()
                content = members.extractfile(member) if wanted else None
                if content is not None:
                    with content, (folder / name).open("wb") as stream:
                        shutil.copyfileobj(content, stream)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TextError(f"{archive} is not a whole tar archive; fetch it again") from error


def locate(folder: Path) -> Path:
    """Return the folder that holds the files: the given one, or de-en in it."""
    inner = folder / "de-en"
    place = inner if inner.is_dir() else folder
    for name in FILES:
        if not (place / name).is_file():
            raise TextError(f"{folder} holds no {name}; give de-en.tgz or its folder with --from")
    return place


def corpus_folder(origin: Path | None, scratch: Path) -> Path:
    """Return a folder with the corpus's files, from an archive, a folder or the network."""
    if origin is None:
        origin = scratch / "de-en.tgz"
        download(os.environ.get("IWSLT14_URL", URL), origin)
    if origin.is_dir():
        return locate(origin)
    if not origin.is_file():
        raise TextError(f"there is no {origin}; give another --from")
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    unpack(origin, unpacked)
    return locate(unpacked)


def hash_files(folder: Path) -> str:
    """Return one SHA-256 for all files of the corpus."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def training_sentences(path: Path) -> Iterator[Line]:
    """Yield the sentences of a training file, titles and descriptions included."""
    for place, line in read_lines(path, path.name):
        if not re.search("<(url|talkid|keywords)>", line):
            yield place, re.sub("</?(title|description)>", "", line)


def tested_sentences(path: Path) -> Iterator[Line]:
    """Yield the sentences of a test file, with typewriter apostrophes, as the field has them."""
    for place, line in read_lines(path, path.name):
        if "<seg id" in line:
            yield place, re.sub(r'<seg id="\d*">\s*|\s*</seg>\s*', "", line).replace("’", "'")


def read_halves(text: TextSettings, folder: Path, name: str) -> list[list[Line]]:
    """Return the sentences of the training files, or of one of the tests."""
    halves = first, second = [
        list(
            training_sentences(folder / f"{name}.{code}")
            if name == TRAIN
            else tested_sentences(folder / f"{name}.{code}.xml")
        )
        for code in text.languages
    ]
    if len(first) != len(second):
        raise TextError(
            f"{name} has {len(first)} sentences in {text.source} but {len(second)} in "
            f"{text.target}; fetch the archive again"
        )
    return halves


def write_splits(text: TextSettings, folder: Path, files: SplitFiles) -> None:
    """Write the kept pairs into their splits."""
    step("cleaning train and valid")
    splits = ("train" if number % VALID_EVERY else "valid" for number in count(1))
    rules = [no_empty_side, LengthRule(LONGEST, RATIO)]
    _write(text, read_halves(text, folder, TRAIN), rules, splits, files)
    step("cleaning test")
    tests = zip(*(read_halves(text, folder, name) for name in TESTS), strict=True)
    halves = [list(chain.from_iterable(half)) for half in tests]
    _write(text, halves, [no_empty_side], repeat("test"), files)


def _write(
    text: TextSettings,
    halves: Sequence[Sequence[Line]],
    rules: Sequence[Rule],
    splits: Iterator[str],
    files: SplitFiles,
) -> None:
    tally = Tally()
    pairs = tqdm(clean_pairs(halves, text.cleaners()), "pairs", len(halves[0]), disable=None)
    for pair in keep_pairs(pairs, rules, tally):
        files.write(next(splits), pair)
    tally.say()


def warn_of_counts(counts: Mapping[str, int]) -> None:
    """Say which splits have other line counts than the standard preparation gives."""
    if counts == STANDARD_LINES:
        step("line counts are the standard ones: train 160,239, valid 7,283, test 6,750")
    for split, lines in counts.items():
        if lines != STANDARD_LINES[split]:
            print(
                f"warning: {split} has {lines:,} lines, "
                f"the standard preparation {STANDARD_LINES[split]:,}",
                file=sys.stderr,
            )


def build_parser() -> CommandParser:
    """Return the parser of the command line."""
    parser = CommandParser(prog="prepare-iwslt14.sh", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--from",
        dest="origin",
        type=Path,
        metavar="ARCHIVE|FOLDER",
        help="de-en.tgz as distributed, or its unpacked folder (default: download it)",
    )
    for side, language in zip(("source", "target"), LANGUAGES, strict=True):
        parser.add_argument(
            f"--{side}", choices=LANGUAGES, help=f"default {language}, or the other of the two"
        )
    parser.add_argument(
        "--vocab-size",
        type=positive_int,
        default=10000,
        metavar="N",
        help="BPE merges to learn (default %(default)s)",
    )
    add_common_options(parser)
    return parser


def iwslt14_settings(args: argparse.Namespace) -> TextSettings:
    """Return the field's settings for this corpus."""
    other = dict(zip(LANGUAGES, reversed(LANGUAGES), strict=True))
    source = args.source or other.get(args.target, "de")
    target = args.target or other[source]
    check_direction(source, target)
    return TextSettings(
        source=source,
        target=target,
        subword="bpe",
        vocab_size=args.vocab_size,
        lowercase=True,
        tokenized=True,
        normalized=False,
        escaped=True,
        counts_merges=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    text = iwslt14_settings(args)
    settings = text.record() | {"corpus": "iwslt14"}
    if not args.if_missing:
        require_new(args.out)
    elif args.origin is None and is_prepared(args.out, settings):
        # Not worth a download: its content is always the same.
        return
    with TemporaryDirectory() as scratch:
        source = corpus_folder(args.origin, Path(scratch))
        settings["sha256_files"] = hash_files(source)
        if args.if_missing and is_prepared(args.out, settings):
            return

        def fill(files: SplitFiles) -> dict[str, Any]:
            write_splits(text, source, files)
            record = settings | files.describe()
            warn_of_counts(files.lines)
            return record

        make_folder(args.out, text, args.workers, fill)


if __name__ == "__main__":
    run_command(main)
