"""``dsp-prune``: from a trained dense model to an export of its best heads, without training."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.ranked import Ranked
from ..analysis.ranking import RANKINGS
from ..export.export import Export, prune_checkpoint
from .export import add_format_flags, format_options
from .export import render as render_export
from .parser import CommandParser, command, number, warnings_only
from .rank_heads import add_batch_flags, options_of, parser_of

_DESCRIPTION = """\
Prune a trained dense model without training: rank its heads, keep the best K, and repair what
is left, so that each attention gives what it gave with all its heads, as nearly as a linear fit
on some batches can. Methods:
"""
_EPILOG = """examples:
  dsp-prune dense.pt --data data/mine --num-of-heads 24 --output pruned24.pt
  dsp-prune dense.pt --data data/mine --num-of-heads 24 --format ctranslate2 --output model-ct2"""
_BATCHES = 20


def render(ranked: Ranked, export: Export, format: str) -> str:
    """The table that the command prints."""
    lines = [render_export(export, format), f"ranked       in {ranked.seconds:.1f} s"]
    if ranked.repair:
        lines.append(f"repaired     {ranked.repair}")
    return "\n".join(lines)


def _parser() -> CommandParser:
    parser = parser_of("dsp-prune", _DESCRIPTION, _EPILOG)
    parser.add_argument("--method", choices=RANKINGS, default="fisher", help="default: fisher")
    add_format_flags(parser)
    data = parser.add_argument_group("data")
    repair = data.add_mutually_exclusive_group()
    repair.add_argument("--no-repair", dest="repair_batches", action="store_const", const=0,
                        default=_BATCHES, help="close heads and change no weight")  # fmt: skip
    repair.add_argument("--repair-batches", type=number, default=_BATCHES, metavar="B",
                        help=f"fit to B batches (default: {_BATCHES})")  # fmt: skip
    add_batch_flags(data)
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-prune``."""
    args = _parser().parse_args(argv)
    told = format_options(args)
    options = options_of(args)
    with warnings_only():
        ranked, export = prune_checkpoint(
            args.checkpoint, args.output, args.data, options, args.format, told
        )
    print(render(ranked, export, args.format))


if __name__ == "__main__":
    main()
