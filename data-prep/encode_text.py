#!/usr/bin/env python3
"""Encode new raw text exactly as a prepared data folder was encoded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from prep_common import CommandParser, run_command
from raw_text import decode_lines

from dsp_text.settings import load_encoder

DESCRIPTION = """\
Encode new raw text exactly as a prepared data folder was encoded.

Reads sentences from stdin (UTF-8, one a line) and writes their subword tokens to stdout,
ready for fairseq-interactive. Line N of the output is line N of the input: where nothing can be
seen, it is blank.
"""

EPILOG = """\
example:
  echo 'Ein Hund läuft durch den Schnee.' \\
      | python data-prep/encode_text.py data/multi30k-de-en \\
      | fairseq-interactive data/multi30k-de-en --user-dir dsp_fairseq \\
          --path checkpoint_best.pt --beam 5 --remove-bpe
"""


def encode_stream(data_dir: Path, side: str, source: BinaryIO, sink: BinaryIO) -> None:
    """Write the tokens of every sentence of `source` to `sink`, each as soon as it is read."""
    encode = load_encoder(data_dir, side)
    for _, sentence in decode_lines(source, "stdin"):
        sink.write(f"{encode(sentence)}\n".encode())
        sink.flush()


def build_parser() -> CommandParser:
    """Return the parser of the command line."""
    parser = CommandParser(description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "data_dir", type=Path, metavar="DATA_DIR", help="folder made by prepare_text.py"
    )
    parser.add_argument(
        "--side",
        choices=("source", "target"),
        default="source",
        help="the language of the text: the folder's source (default) or target",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    encode_stream(args.data_dir, args.side, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    run_command(main)
