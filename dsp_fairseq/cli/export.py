"""``dsp-export``: writes a checkpoint in which the closed heads' weights no longer exist."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..analysis.head_map import render_counts
from ..errors import PruningError
from ..export.export import Export, export_checkpoint
from ..export.exporter import EXPORTERS, FormatOptions
from .parser import CommandParser, command

OUTPUT_HELP = "file to write (ctranslate2 and huggingface: folder)"


def render(export: Export, format: str) -> str:
    """The table that the command prints."""
    lines = [render_counts(export.head_map)]
    for name, (before, after) in (("parameters", export.parameters), ("bytes", export.bytes)):
        lines.append(f"{name:<12} {before:>13,} -> {after:>13,}   x {after / before:.3f}")
    lines += export.notes
    lines.append(f"signature    {export.signature}|format:{format}")
    if export.agreement is not None:
        lines.append(str(export.agreement))
    return "\n".join(lines)


def add_format_flags(parser: CommandParser) -> None:
    """The flags of the format that is written."""
    parser.add_argument("--format", choices=EXPORTERS, default="pruned", help="default: pruned")
    quantizations = {name for exporter in EXPORTERS.values() for name in exporter.quantizations}
    parser.add_argument(
        "--quantization", choices=sorted(quantizations), default="float32", help="ctranslate2 only"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="huggingface only: folder of the imported model; its tokenizer files are copied and "
        "its token ids are used (default: fairseq's token ids, and no tokenizer files)",
    )
    parser.add_argument(
        "--remove-heads",
        action="store_true",
        help="huggingface only: remove closed heads, for transformers 4 (default: they are zeros)",
    )


def format_options(args: argparse.Namespace) -> FormatOptions:
    """What the format is told.

    Raises:
        PruningError: it has no such flag, or no such quantization.
    """
    options = FormatOptions(
        getattr(args, "data", None), args.quantization, args.tokenizer, args.remove_heads
    )
    own = EXPORTERS[args.format]
    if options.quantization not in own.quantizations:
        owners = [name for name, e in EXPORTERS.items() if options.quantization in e.quantizations]
        raise PruningError(f"--quantization belongs to --format {' or '.join(owners)}")
    for name, exporter in EXPORTERS.items():
        for flag in exporter.flags:
            if getattr(options, flag) and flag not in own.flags:
                raise PruningError(f"--{flag.replace('_', '-')} belongs to --format {name}")
    return options


def _parser() -> CommandParser:
    formats = "; ".join(f"'{name}' {exporter.help}" for name, exporter in EXPORTERS.items())
    parser = CommandParser(
        prog="dsp-export",
        formatter_class=argparse.HelpFormatter,
        description="Export a trained checkpoint, with closed heads removed or set to zero.",
        epilog=f"formats: {formats}. "
        "example: dsp-export checkpoint_best.pt --format pruned --output pruned.pt",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint of fairseq-train")
    add_format_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help=OUTPUT_HELP)
    parser.add_argument(
        "--num-of-heads",
        help="K: any before the freeze, afterwards one that it was trained for (default: its own)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with dictionaries for ctranslate2 (default: the training data)",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="DATA",
        help="translate or classify the test split of DATA with both models, count equal answers",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-export``."""
    args = _parser().parse_args(argv)
    export = export_checkpoint(
        args.checkpoint,
        args.output,
        args.format,
        args.num_of_heads,
        format_options(args),
        args.check,
    )
    print(render(export, args.format))


if __name__ == "__main__":
    main()
