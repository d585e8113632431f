"""``dsp-rank-heads``: ranks the heads of a trained dense model, and closes the lowest."""

from __future__ import annotations

import argparse
import shlex
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..about import USER_DIR
from ..analysis.head_map import render_counts
from ..analysis.ranked import Ranked, rank_checkpoint
from ..analysis.ranking import RANKINGS, RankingOptions
from ..errors import PruningError
from .parser import CommandParser, command, number, warnings_only


def _number_or_all(text: str) -> int | None:
    return None if text == "all" else number(text)


_number_or_all.__name__ = "number"


def render(ranked: Ranked, args: Namespace) -> str:
    """What the command prints: the heads kept, the method, and what to do next."""
    head_map = ranked.head_map
    how = args.method
    if RANKINGS[args.method].uses_data:
        batches = "all" if args.max_batches is None else f"up to {args.max_batches}"
        how += ", scored once" if args.one_shot else ", scored again after each step"
        how += f", on {batches} batches of the {args.split} split"
    elif how == "random":
        how += f", seed {args.seed}"
    elif args.heads_of:
        how += f", the heads of {args.heads_of}"
    output, data = (shlex.quote(str(path)) for path in (args.output, args.data))
    use = f"dsp-predict {output} --data {data}"
    if ranked.checkpoint.family.translates:
        package = shlex.quote(str(args.user_dir or USER_DIR))
        use = f"fairseq-generate {data} --user-dir {package} --path {output}"
    cost = "" if head_map.cost is None else f"; they cost {head_map.cost:g}"
    return "\n".join(
        [
            render_counts(head_map),
            f"kept         {head_map.budget} of {head_map.layout.num_heads} heads, frozen{cost}",
            f"method       {how}",
            *([f"repaired     {ranked.repair}"] if ranked.repair else []),
            f"next         {use}",
            f"             fairseq-train ... --num-of-heads {head_map.budget} "
            f"--finetune-from-model {output}",
            f"             dsp-heads {output}; dsp-export {output} --output pruned.pt",
        ]
    )


def methods() -> str:
    """The rankings and what they do, for ``--help``."""
    lines = []
    for name, ranking in RANKINGS.items():
        lines += textwrap.wrap(
            ranking.help, 96, initial_indent=f"  {name:<12} ", subsequent_indent=" " * 15
        )
    return "\n".join(lines)


_DESCRIPTION = """\
Rank the heads of a trained dense model without training, and write a checkpoint that
keeps exactly the best K. Methods:
"""
_EPILOG = """examples:
  dsp-rank-heads dense.pt --data data/mine --method michel --num-of-heads 18 --output michel.pt
  dsp-rank-heads dense.pt --data data/mine --method random --seed 3 --num-of-heads 18 \\
      --output random3.pt

The output works in every command with --user-dir, like a trained checkpoint after its freeze.
To train the kept heads further, give it to fairseq-train as --finetune-from-model."""


def parser_of(prog: str, description: str, epilog: str) -> CommandParser:
    """A parser with the flags of all commands that choose heads without training."""
    parser = CommandParser(prog=prog, description=description + methods(), epilog=epilog)
    add = parser.add_argument
    add(
        "checkpoint",
        type=Path,
        help="checkpoint with all its heads, of this package or of stock fairseq",
    )
    add("--data", type=Path, required=True, help="folder of binarised data and dictionaries")
    add("--num-of-heads", type=int, metavar="K", help="number of heads to keep, 0..N")
    add("--cost-budget", metavar="C", help="instead of K: what the heads kept may cost together")
    add("--head-costs", metavar="PRICES",
        help="what a head costs, by kind, or a file of dsp-measure")  # fmt: skip
    add("--heads-of", type=Path, metavar="FILE",
        help="method learned: the pruned checkpoint whose heads are taken")  # fmt: skip
    add("--output", type=Path, required=True, help="file to write")
    for way, bound in (("least", "minimum number"), ("most", "maximum number")):
        add(f"--keep-at-{way}", default="", metavar="NAME=COUNT,...",
            help=f"{bound} of kept heads by kind or sublayer, as in fairseq-train")  # fmt: skip
    add("--seed", type=int, default=1,
        help="seed of random, and of the order of batches (default: 1)")  # fmt: skip
    add("--cpu", action="store_true", help="do not use a GPU")
    return parser


def options_of(args: Namespace) -> RankingOptions:
    """What the flags say; what a command has no flag for stays as it is."""
    given = {f.name for f in fields(RankingOptions)} & vars(args).keys()
    return RankingOptions(**{name: getattr(args, name) for name in given})


def add_batch_flags(group: argparse._ArgumentGroup) -> None:
    """The flags of what is looked at."""
    group.add_argument("--split", default="train", help="split to look at (default: train)")
    group.add_argument("--max-tokens", type=number, default=4096,
                       help="size of a batch (default: 4096)")  # fmt: skip


def _parser() -> tuple[CommandParser, list[argparse.Action]]:
    """The parser, and its flags that only methods understand that look at data."""
    parser = parser_of("dsp-rank-heads", _DESCRIPTION, _EPILOG)
    parser.add_argument("--method", choices=RANKINGS, required=True)
    parser.add_argument("--repair-batches", type=number, default=0, metavar="B",
                        help="then fit the output projections to B batches, as dsp-prune does "
                        "(default: leave them)")  # fmt: skip
    data = parser.add_argument_group("for methods that look at data")
    steps = data.add_mutually_exclusive_group()
    steps.add_argument("--one-shot", action="store_true", help="score once")
    steps.add_argument("--heads-per-step", type=number, metavar="M",
                       help="heads to close before scoring again (default: michel N / 10, "
                       "fisher 1)")  # fmt: skip
    data.add_argument("--max-batches", type=_number_or_all, default=RankingOptions.max_batches,
                      metavar="B", help="score on this many batches, drawn by the seed, or on "
                      "'all' (default: 20)")  # fmt: skip
    add_batch_flags(data)
    return parser, data._group_actions


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-rank-heads``."""
    parser, of_data = _parser()
    args = parser.parse_args(argv)
    if not RANKINGS[args.method].uses_data:
        if args.one_shot or args.heads_per_step:
            raise PruningError(
                f"--method {args.method} scores once: leave out --one-shot and --heads-per-step"
            )
        unused = [a for a in of_data if getattr(args, a.dest) != a.default]
        if unused and not args.repair_batches:
            flag = unused[0].option_strings[0]
            owners = " or ".join(name for name, ranking in RANKINGS.items() if ranking.uses_data)
            raise PruningError(f"{flag} belongs to --method {owners}, not to {args.method}")
    options = options_of(args)
    with warnings_only():
        ranked = rank_checkpoint(args.checkpoint, args.output, args.data, options)
    print(render(ranked, args))


if __name__ == "__main__":
    main()
