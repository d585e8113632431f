"""``dsp-export``: writes a checkpoint in which the closed heads' weights no longer exist."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..analysis.head_map import render_counts
from ..data.corpus import check_corpus
from ..errors import PruningError
from ..export.export import FORMATS, Export, export_checkpoint
from ..export.parity import compare
from .parser import CommandParser, command


def render(export: Export, format: str) -> str:
    """The table that the command prints."""
    head_map = export.head_map
    lines = [render_counts(head_map)]
    for name, (before, after) in (("parameters", export.parameters), ("bytes", export.bytes)):
        lines.append(f"{name:<12} {before:>13,} -> {after:>13,}   x {after / before:.3f}")
    lines.append(f"signature    {export.signature}|format:{format}")
    return "\n".join(lines)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-export``."""
    parser = CommandParser(
        prog="dsp-export",
        formatter_class=argparse.HelpFormatter,
        description="Writes a checkpoint in which the closed heads' weights no longer exist.",
        epilog="formats: 'pruned' loads in every fairseq command with --user-dir and is smaller "
        "and faster; 'fairseq' is a stock transformer in the dense shape, for tools that know "
        "nothing of pruning; 'ctranslate2' is a folder for CTranslate2. "
        "example: dsp-export checkpoint_best.pt --format pruned --output pruned.pt",
    )
    parser.add_argument("checkpoint", type=Path, help="what fairseq-train wrote")
    parser.add_argument("--format", choices=FORMATS, default="pruned", help="default: pruned")
    parser.add_argument("--output", type=Path, required=True, help="new file (ctranslate2: folder)")
    parser.add_argument(
        "--num-of-heads", help="K, if the checkpoint is not frozen (default: the trained one)"
    )
    parser.add_argument(
        "--data", type=Path, help="dictionaries for ctranslate2 (default: the training data)"
    )
    parser.add_argument(
        "--quantization", choices=("int8", "float32"), default="float32", help="ctranslate2 only"
    )
    parser.add_argument(
        "--check", type=Path, metavar="DATA", help="then translate its test split with both models"
    )
    args = parser.parse_args(argv)
    if args.format != "ctranslate2" and args.quantization != "float32":
        raise PruningError("--quantization belongs to --format ctranslate2")
    if args.check:
        check_corpus(args.check, None, None, "test")
    export = export_checkpoint(
        args.checkpoint, args.output, args.format, args.num_of_heads, args.data, args.quantization
    )
    print(render(export, args.format))
    if args.check:
        print(compare(args.checkpoint, args.output, args.check, args.num_of_heads))


if __name__ == "__main__":
    main()
