"""``dsp-score``: BLEU and chrF of what fairseq-generate printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ..evaluation.bleu import TOKENIZERS, score_file
from .parser import CommandParser, command


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-score``."""
    parser = CommandParser(
        prog="dsp-score",
        formatter_class=argparse.HelpFormatter,
        description="Score an output of fairseq-generate: BLEU and chrF of detokenised text, with "
        "sacreBLEU's signatures, and BLEU of tokens. The references in the output must be those of "
        "the data. The ceiling, shown if below 100, is the score of the reference itself after "
        "preparation and back.",
        epilog="example: fairseq-generate DATA ... > out.txt; dsp-score out.txt --data DATA",
    )
    parser.add_argument("generated", type=Path, help="output of fairseq-generate")
    parser.add_argument("--data", type=Path, required=True, help="folder that data-prep/ made")
    parser.add_argument("--split", default="test", choices=("test", "valid"))
    parser.add_argument(
        "--tokenize",
        choices=TOKENIZERS,
        help="sacreBLEU's tokeniser (default: zh, ja-mecab and ko-mecab for these languages, "
        "char for others without spaces, or else 13a)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    args = parser.parse_args(argv)
    scores = score_file(args.generated, args.data, args.split, args.tokenize)
    if args.json:
        print(json.dumps({name: score.record() for name, score in scores.items()}))
        return
    for name, score in scores.items():
        print(f"{name.replace('_', ' '):<15} {score}")


if __name__ == "__main__":
    main()
