"""What is done to the text, and the options that say it."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prep_common import CommandParser, positive_int, step
from sacremoses.corpus import NonbreakingPrefixes

from dsp_text.cleaner import Cleaner
from dsp_text.errors import TextError
from dsp_text.language import without_region
from dsp_text.settings import FORMAT_VERSION
from dsp_text.subwords import KINDS


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

    def cleaners(self) -> tuple[Cleaner, Cleaner]:
        """Return the cleaners of the source and the target."""
        settings = asdict(self)
        return Cleaner.from_settings(settings, "source"), Cleaner.from_settings(settings, "target")

    def record(self) -> dict[str, Any]:
        """Return what prep.json says of them."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


def language_code(text: str) -> str:
    """Parse a language code, which fairseq joins to others with dots and hyphens."""
    if not re.fullmatch(r"\w+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a plain language code such as de or zh_CN, with _ between its parts; "
            "files are named so too"
        )
    return text


def add_common_options(parser: CommandParser) -> None:
    """Add the options of every command that makes a data folder of parallel text."""
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes for fairseq-preprocess (default %(default)s)",
    )
    add_folder_options(parser)


def add_folder_options(parser: CommandParser) -> None:
    """Add the options of every command that makes a data folder."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--if-missing",
        action="store_true",
        help="leave a folder alone that was made with these settings and inputs",
    )


def add_text_options(parser: CommandParser) -> None:
    """Add the options that say what is done to the text."""
    parser.add_argument("--subword", choices=KINDS, default="bpe", help="default bpe")
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
        raise TextError(f"--source and --target are both {source}; give two languages")


def text_settings(args: argparse.Namespace, source: str, target: str) -> TextSettings:
    """Return the settings of `add_text_options` for this direction."""
    check_direction(source, target)
    # SentencePiece works on untokenised text.
    tokenized = args.subword == "bpe" and not args.no_tokenize
    known = NonbreakingPrefixes().available_langs
    unknown = [code for code in (source, target) if without_region(code) not in known]
    if tokenized and unknown:
        step(
            f"note: Moses has no abbreviations of {' and '.join(unknown)}, and takes those of "
            "English; it knows languages by two small letters, such as de"
        )
    return TextSettings(
        source,
        target,
        args.subword,
        args.vocab_size,
        args.lowercase,
        tokenized,
        # It would join words to their marks.
        normalized=not args.no_tokenize,
    )
