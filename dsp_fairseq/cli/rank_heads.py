"""``dsp-score-heads``: ranks the heads of a trained dense model, and closes the lowest."""

from __future__ import annotations

import argparse
import logging
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..about import USER_DIR
from ..analysis.head_map import HeadMap, render_counts
from ..analysis.ranking import METHODS, score_checkpoint
from ..errors import PruningError
from .parser import CommandParser, command


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Without what fairseq and the model tell at every load, which is of another use of them."""
    loggers = [logging.getLogger(name) for name in ("fairseq", "dsp_fairseq")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def render(head_map: HeadMap, args: Namespace) -> str:
    """What the command prints: the heads kept, the method, and what to do next."""
    how = args.method
    if how == "michel":
        how += ", scored once" if args.one_shot else ", scored again after each step"
    elif how == "random":
        how += f", seed {args.seed}"
    return "\n".join(
        [
            render_counts(head_map),
            f"kept         {head_map.budget} of {head_map.layout.num_heads} heads, frozen",
            f"method       {how}",
            f"next         fairseq-generate {args.data} --user-dir {USER_DIR} --path {args.output}",
            f"             fairseq-train ... --num-of-heads {head_map.budget} "
            f"--finetune-from-model {args.output}",
            f"             dsp-heads {args.output}; dsp-export {args.output} --output pruned.pt",
        ]
    )


_positive.__name__ = "number"


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-score-heads``."""
    parser = CommandParser(
        prog="dsp-score-heads",
        description="""\
Ranks the heads of a trained dense model without training, and writes a checkpoint that keeps
exactly the best K: a rival and two controls for heads that are learned. Methods:
  michel       |d loss / d gate| summed over batches of the data (Michel et al. 2019), the scores
               of a site divided by their l2 norm. The lowest heads are closed a few at a time and
               the others scored again without them; --one-shot scores once.
  weight-norm  l2 norm of a head's weights in q, k, v and the output projection, divided likewise
  random       any order, by --seed""",
        epilog="""examples:
  dsp-score-heads dense.pt --data data/mine --method michel --num-of-heads 18 --output michel.pt
  dsp-score-heads dense.pt --data data/mine --method random --seed 3 --num-of-heads 18 \\
      --output random3.pt

The output works in every command with --user-dir, like a checkpoint that was trained until its
heads were frozen. To train its weights further with these heads, give it to fairseq-train as
--finetune-from-model.""",
    )
    parser.add_argument(
        "checkpoint", type=Path, help="a dense one: of a stock transformer, or dsp_transformer"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="binarised data, with the dictionaries"
    )
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument(
        "--num-of-heads", type=int, required=True, metavar="K", help="heads to keep: 0..N"
    )
    parser.add_argument("--output", type=Path, required=True, help="new file")
    parser.add_argument("--keep-at-least", default="", metavar="KIND=COUNT,...",
                        help="floor on the heads kept per kind, as in fairseq-train")  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, help="of random, and of the order of batches (default: 1)"
    )
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    michel = parser.add_argument_group("michel only")
    steps = michel.add_mutually_exclusive_group()
    steps.add_argument("--one-shot", action="store_true", help="score once")
    steps.add_argument(
        "--heads-per-step",
        type=_positive,
        metavar="M",
        help="heads to close before scoring again (default: a tenth of N)",
    )
    michel.add_argument("--split", default="train", help="which data (default: train)")
    michel.add_argument(
        "--max-batches", type=_positive, metavar="B", help="score on so many (default: all)"
    )
    michel.add_argument(
        "--max-tokens", type=_positive, default=4096, help="size of a batch (default: 4096)"
    )
    args = parser.parse_args(argv)
    if args.method != "michel" and (args.one_shot or args.heads_per_step):
        raise PruningError(
            f"--method {args.method} scores once: leave out --one-shot and --heads-per-step"
        )
    unused = [a for a in michel._group_actions if getattr(args, a.dest) != a.default]
    if args.method != "michel" and unused:
        flag = unused[0].option_strings[0]
        raise PruningError(f"{flag} belongs to --method michel, not to {args.method}")
    with _warnings_only():
        head_map = score_checkpoint(
            args.checkpoint,
            args.output,
            args.data,
            args.method,
            args.num_of_heads,
            one_shot=args.one_shot,
            heads_per_step=args.heads_per_step,
            split=args.split,
            max_batches=args.max_batches,
            max_tokens=args.max_tokens,
            keep_at_least=args.keep_at_least,
            seed=args.seed,
            cpu=args.cpu,
        )
    print(render(head_map, args))


if __name__ == "__main__":
    main()
