"""``dsp-predict``: what a classifier says of a split, and how often it is right."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evaluation.classification import Accuracy, Comparison, accuracy, compare
from ..evaluation.predictions import predict, read_tsv, write_tsv
from ..files import refuse_existing, write_whole
from .parser import CommandParser, command, number


def render(found: Accuracy, comparison: Comparison | None) -> str:
    """The table that the command prints."""
    low, high = found.interval()
    width = max(len("class"), *(len(counts.name) for counts in found.classes))
    lines = [
        f"accuracy     {found.percent:.2f} [{low:.2f}, {high:.2f}]   "
        f"{found.right} of {found.number}, 95 % Wilson interval",
        f"{'class':<{width}}  precision  recall  inputs",
    ]
    for counts in found.classes:
        lines.append(
            f"{counts.name:<{width}}  {counts.precision:9.2f}  {counts.recall:6.2f}  "
            f"{counts.present:6d}"
        )
    if comparison is not None:
        lines.append(
            f"compared     {comparison.only_first} right here alone, {comparison.only_second} "
            f"there alone; p = {comparison.p:.4g} (McNemar, exact)"
        )
    return "\n".join(lines)


def record(found: Accuracy, comparison: Comparison | None) -> dict[str, Any]:
    """The same for ``--json``."""
    result = {"accuracy": found.percent, "interval": found.interval(), **asdict(found)}
    return result if comparison is None else {**result, "comparison": asdict(comparison)}


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="dsp-predict",
        formatter_class=argparse.HelpFormatter,
        description="Classify a split with a trained model: accuracy with its interval, precision "
        "and recall of each class, and a file of all predictions with their probabilities.",
        epilog="example: dsp-predict runs/nli/checkpoint_best.pt --data data/nli --split test "
        "--output pruned.tsv --compare dense.tsv",
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint with a classification head, exported or not")
    add("--data", type=Path, required=True, help="folder of binarised data")
    add("--split", default="test", help="default: test")
    add("--output", type=Path, metavar="TSV", help="file to write, a line for each input")
    add("--compare", type=Path, metavar="TSV", help="predictions of another model on this split: "
        "McNemar's exact test of the two")  # fmt: skip
    add("--num-of-heads", metavar="K", help="one of several budgets (default: the first)")
    add("--max-tokens", type=number, default=4096, help="size of a batch (default: 4096)")
    add("--json", action="store_true", help="print one JSON object instead")
    add("--cpu", action="store_true", help="do not use a GPU")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-predict``."""
    args = _parser().parse_args(argv)
    if args.output is not None:
        refuse_existing(args.output)
    other = None if args.compare is None else read_tsv(args.compare)
    predictions = predict(
        args.checkpoint, args.data, args.split, args.num_of_heads, args.max_tokens, args.cpu
    )
    found = None if predictions.labels is None else accuracy(predictions)
    if args.output is not None:
        write_whole(args.output, write_tsv(predictions))
    comparison = None if other is None else compare(predictions, other)
    count = len(predictions.given)
    if args.json:
        print(json.dumps(record(found, comparison) if found else {"inputs": count}))
    elif found is None:
        print(f"{count} predictions; the {args.split} split has no labels")
    else:
        print(render(found, comparison))


if __name__ == "__main__":
    main()
