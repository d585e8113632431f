#!/usr/bin/env python3
"""Turn raw parallel text into a data folder that fairseq-train can read."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from prep_common import (
    CommandParser,
    PrepError,
    positive_int,
    require_new,
    run_command,
    staged_folder,
    step,
)
from text_pipeline import (
    FORMAT_VERSION,
    SETTINGS_FILE,
    SUBWORD_KINDS,
    Cleaner,
    apply_step,
    decode_lines,
    learn_subwords,
    load_subwords,
    read_settings,
)
from tqdm import tqdm

SPLITS = ("train", "valid", "test")
LIBRARIES = ("sacremoses", "subword_nmt", "sentencepiece", "fairseq")
LOG_FILE = "preprocess.log"
LONGEST = 1023
"""Tokens of a held-out sentence: the 1024 positions of fairseq's models, less the end mark."""

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


@dataclass(frozen=True)
class TextSettings:
    """What is done to the text; prep.json holds these fields, and `Cleaner` reads them there."""

    source: str
    target: str
    subword: str
    vocab_size: int
    lowercase: bool
    tokenized: bool
    normalized: bool = True
    escaped: bool = False
    counts_merges: bool = False

    @property
    def languages(self) -> tuple[str, str]:
        """The source and the target language."""
        return self.source, self.target

    def cleaners(self) -> dict[str, Cleaner]:
        """Return the cleaner of each language, the source's first."""
        sides = ("source", "target")
        return {getattr(self, side): Cleaner.from_settings(asdict(self), side) for side in sides}

    def record(self) -> dict[str, Any]:
        """Return what prep.json says of them."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


@dataclass(frozen=True)
class RawFile:
    """One raw text file that passed the checks."""

    path: Path
    lines: int
    sha256: str

    def sentences(self) -> Iterator[str]:
        """Yield the file's sentences, empty ones too where the checks let them pass."""
        with open_raw(self.path) as stream:
            yield from decode_lines(stream, self.path, allow_empty=True)


# By split, then by language.
Corpus = dict[str, dict[str, RawFile]]


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


@contextmanager
def open_raw(path: Path) -> Iterator[BinaryIO]:
    """Open a plain or gzipped file for reading its decompressed bytes."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        try:
            yield stream
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise PrepError(f"{path} is not a whole gzip file; fetch it again") from error


def find_raw(prefix: str, language: str) -> Path:
    """Return the plain file of this prefix and language, or else the gzipped one."""
    plain = Path(f"{prefix}.{language}")
    for path in (plain, Path(f"{plain}.gz")):
        if path.is_file():
            return path
    raise PrepError(f"found neither {plain} nor {plain}.gz; check the prefix and the languages")


def check_raw(path: Path, *, allow_empty: bool = False) -> RawFile:
    """Read a raw file once, checking every line, counting and hashing."""
    with open_raw(path) as stream:
        reader = _HashingReader(stream)
        sentences = decode_lines(reader, path, allow_empty=allow_empty)
        lines = sum(1 for _ in tqdm(sentences, path.name, disable=None))
    if not lines:
        raise PrepError(f"{path} has no lines; give a file with text")
    return RawFile(path, lines, reader.hexdigest())


def check_corpus(
    prefixes: dict[str, str], languages: Sequence[str], expected: dict[str, int]
) -> Corpus:
    """Check all raw files, that their halves match and that they have the expected lines."""
    paths = {
        split: {language: find_raw(prefix, language) for language in languages}
        for split, prefix in prefixes.items()
    }
    corpus = {
        split: {language: check_raw(path) for language, path in halves.items()}
        for split, halves in paths.items()
    }
    for split, halves in corpus.items():
        check_counts(list(halves.values()), expected.get(split))
    return corpus


def check_counts(halves: Sequence[RawFile], expected: int | None = None) -> None:
    """Check that two halves have equally many lines, and as many as expected."""
    for half in halves:
        if expected is not None and half.lines != expected:
            raise PrepError(
                f"{half.path} has {half.lines} lines where {expected} were expected; "
                "give the right file"
            )
    first, second = halves
    if first.lines != second.lines:
        raise PrepError(
            f"{first.path} has {first.lines} lines but {second.path} has {second.lines}; "
            "give files that match line by line"
        )


def describe(corpus: Corpus) -> dict[str, Any]:
    """Return what prep.json says of the raw text of every split, flat."""
    return {
        **{f"lines_{split}": next(iter(halves.values())).lines for split, halves in corpus.items()},
        **{
            f"sha256_{split}_{language}": half.sha256
            for split, halves in corpus.items()
            for language, half in sorted(halves.items())
        },
    }


def library_versions() -> dict[str, str]:
    """Return the installed version of every library that shapes the result."""
    distributions = metadata.packages_distributions()
    return {
        f"version_{module}": metadata.version(distributions[module][0])
        for module in LIBRARIES
        if module in distributions
    }


def is_prepared(out: Path, wanted: dict[str, Any]) -> bool:
    """Tell whether `out` already holds just this; refuse when it holds something else."""
    if not out.exists():
        return False
    try:
        found = read_settings(out)
    except PrepError as error:
        raise PrepError(
            f"{out} exists but is no prepared folder; remove it or give another --out"
        ) from error
    for key, value in wanted.items():
        if found.get(key) != value:
            raise PrepError(
                f"{out} exists but was made with another {key} "
                f"({found.get(key)!r}, now {value!r}); remove it or give another --out"
            )
    step(f"{out} is already prepared with these settings; nothing to do")
    return True


def clean_corpus(text: TextSettings, corpus: Corpus, work: Path) -> None:
    """Write every half of the corpus, cleaned, into `work`."""
    step("cleaning the text")
    cleaners = text.cleaners()
    for split, language, half in walk(corpus):
        cleaned = apply_step(half.sentences(), half.path, cleaners[language])
        write_lines(clean_path(work, split, language), cleaned, half.lines)


def clean_path(work: Path, split: str, language: str) -> Path:
    """Return where the cleaned text of one half lives while a folder is made."""
    return work / f"{split}.clean.{language}"


def build(text: TextSettings, corpus: Corpus, work: Path, folder: Path, workers: int) -> None:
    """Fill `folder` with all of a data folder but its prep.json, from cleaned text in `work`."""
    step(f"learning {text.vocab_size} {text.subword} symbols from both languages")
    # Sorted, so that both directions of a pair learn the same symbols.
    training = [
        read_lines(clean_path(work, "train", language)) for language in sorted(text.languages)
    ]
    learn_subwords(
        text.subword,
        chain.from_iterable(training),
        text.vocab_size,
        folder,
        counts_merges=text.counts_merges,
    )

    step("splitting the text into subwords")
    encode = load_subwords(text.subword, folder)
    for split, language, half in walk(corpus):
        cleaned = read_lines(clean_path(work, split, language))
        encoded = apply_step(cleaned, half.path, encode)
        if split != "train":
            encoded = refuse_long(encoded, half.path)
        write_lines(work / f"{split}.{language}", encoded, half.lines)

    step("binarising with fairseq-preprocess")
    binarise(text, work, folder, workers)
    write_raw(text, corpus, folder / "raw")


def refuse_long(sentences: Iterable[str], name: object) -> Iterator[str]:
    """Yield held-out sentences; fairseq ends at one that is longer than its models take.

    Long training sentences it leaves out by itself.
    """
    for number, tokens in enumerate(sentences, start=1):
        if (length := tokens.count(" ") + 1) > LONGEST:
            raise PrepError(
                f"{name}, line {number}: {length} tokens, more than the {LONGEST} that fairseq's "
                "models take; split the sentence (in both languages)"
            )
        yield tokens


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder inside `folder` that is gone in the end."""
    work = folder / "work"
    work.mkdir()
    yield work
    shutil.rmtree(work)


def walk(corpus: Corpus) -> Iterator[tuple[str, str, RawFile]]:
    """Yield the split, the language and the file of every half of the corpus."""
    for split, halves in corpus.items():
        for language, half in halves.items():
            yield split, language, half


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that `write_lines` wrote."""
    with path.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            yield line.removesuffix("\n")


def write_lines(path: Path, lines: Iterable[str], total: int) -> None:
    """Write lines to a new file, showing the progress towards `total`."""
    with path.open("x", encoding="utf-8", newline="\n") as stream:
        for line in tqdm(lines, path.name, total, disable=None):
            stream.write(f"{line}\n")


def write_raw(text: TextSettings, corpus: Corpus, folder: Path) -> None:
    """Keep the untouched held-out sentences: scores are computed on text, not on tokens."""
    folder.mkdir()
    for split in SPLITS[1:]:
        for side, language in zip(("src", "tgt"), text.languages, strict=True):
            half = corpus[split][language]
            write_lines(folder / f"{split}.{side}", half.sentences(), half.lines)


def binarise(text: TextSettings, work: Path, folder: Path, workers: int) -> None:
    """Run fairseq-preprocess on the encoded files in `work`, keeping its log in `folder`."""
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--joined-dictionary"]
    command += ["--source-lang", text.source, "--target-lang", text.target]
    for split in SPLITS:
        command += [f"--{split}pref", str(work / split)]
    command += ["--destdir", str(folder), "--workers", str(workers)]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if run.returncode:
        last = run.stdout.strip().rpartition("\n")[2] or f"exit status {run.returncode}"
        raise PrepError(f"fairseq-preprocess failed: {last}")
    (folder / LOG_FILE).write_text(run.stdout, encoding="utf-8")


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write prep.json, the record of how the folder was made, versions of libraries included."""
    text = json.dumps(settings | library_versions(), indent=2, ensure_ascii=False)
    (folder / SETTINGS_FILE).write_text(f"{text}\n", encoding="utf-8")


def language_code(text: str) -> str:
    """Parse a language code, which fairseq joins to others with dots and hyphens."""
    if not re.fullmatch(r"\w+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain language code such as de")
    return text


def line_counts(text: str) -> dict[str, int]:
    """Parse expected line counts such as train=29000,valid=1014."""
    counts = {}
    for item in text.split(","):
        split, _, count = item.partition("=")
        if split not in SPLITS:
            raise argparse.ArgumentTypeError(f"{item!r} is not like train=29000")
        counts[split] = positive_int(count)
    return counts


def add_common_options(parser: CommandParser) -> None:
    """Add the options of every command that makes a data folder."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes for fairseq-preprocess (default %(default)s)",
    )
    parser.add_argument(
        "--if-missing",
        action="store_true",
        help="leave a folder alone that was made with these settings and inputs",
    )


def add_text_options(parser: CommandParser) -> None:
    """Add the options that say what is done to the text."""
    parser.add_argument("--subword", choices=SUBWORD_KINDS, default="bpe", help="default bpe")
    parser.add_argument(
        "--vocab-size",
        type=positive_int,
        default=8000,
        metavar="N",
        help="symbols to learn, characters included (default %(default)s)",
    )
    parser.add_argument("--lowercase", action="store_true", help="lowercase everything")
    parser.add_argument(
        "--no-tokenize",
        action="store_true",
        help="the words are separated already (sentencepiece never tokenises)",
    )


def check_direction(source: str, target: str) -> None:
    """Refuse a language into itself."""
    if source == target:
        raise PrepError(f"--source and --target are both {source}; give two languages")


def text_settings(args: argparse.Namespace, source: str, target: str) -> TextSettings:
    """Return the settings of `add_text_options` for this direction."""
    check_direction(source, target)
    # SentencePiece works on untokenised text.
    tokenized = args.subword == "bpe" and not args.no_tokenize
    return TextSettings(source, target, args.subword, args.vocab_size, args.lowercase, tokenized)


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
    with staged_folder(args.out) as folder, work_folder(folder) as work:
        clean_corpus(text, corpus, work)
        build(text, corpus, work, folder, args.workers)
        write_settings(folder, settings)
    step(f"wrote {args.out}")


if __name__ == "__main__":
    run_command(main)
