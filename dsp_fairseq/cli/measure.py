"""``dsp-measure``: what a head of each kind costs in generation time, on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..analysis.prices import LEAST, Measure, Prices, price_heads
from ..files import refuse_existing, write_whole
from .parser import CommandParser, command, number, warnings_only


def render(prices: Prices, output: Path) -> str:
    """The table that the command prints."""
    costs, seconds = prices.costs, prices.seconds
    lines = [f"{'kind':<14} heads   ms per head  [quartiles]            price"]
    for kind, heads in prices.heads.items():
        low, high = (f"{1000 * value:.3f}" for value in prices.spread(kind))
        quartiles = f"[{low}, {high}]"
        lines.append(
            f"{kind:<14} {heads:>5}   {1000 * seconds[kind]:>11.3f}  {quartiles:<20} "
            f"{costs[kind]:>7.4g}"
        )
    measure = prices.measure
    lines.append(
        f"a batch of {measure.batch_size}, beam {measure.beam}, {measure.length} tokens takes "
        f"{prices.dense:.3f} s with all heads; {prices.device}, {prices.threads} threads"
    )
    if prices.in_the_noise:
        lines.append(
            f"too short to tell from noise: {', '.join(prices.in_the_noise)}; priced at {LEAST:g} "
            "of the mean"
        )
    if prices.unsure:
        lines.append(
            f"not told apart from 0: {', '.join(prices.unsure)}; give more --repeats, or let the "
            "machine do nothing else"
        )
    quarter = sum(prices.heads.values()) // 4
    lines.append(f"wrote {output}")
    costs_file = shlex.quote(str(output))
    lines.append(f"next  fairseq-train ... --head-costs {costs_file} --cost-budget {quarter}")
    return "\n".join(lines)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="dsp-measure",
        description="""\
Price the attention heads of a translation model on this machine: how much generation time one
head of each kind costs. Encoder heads run once a sentence, decoder heads at every step and for
every beam. The model translates made-up sentences of its own vocabulary, with all its heads, and
with half or all heads of one kind removed; these take turns, and the times they save are fitted by
a line per kind. No data are needed, and the weights need not be trained.""",
        epilog="""examples:
  dsp-measure dense.pt --output costs.yaml
  dsp-measure dense.pt --batch-size 1 --beam 1 --repeats 25 --output costs-single.json

Prices are such that the mean head costs 1, so all heads together cost their number, and a
--cost-budget of fairseq-train compares with a --num-of-heads. Measure with the batch, beam, length
and number of threads (OMP_NUM_THREADS) that the model is going to serve with, on a machine that
does nothing else.""",
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="dense or not yet exported, of dsp_transformer or fairseq")
    add("--output", type=Path, required=True, help="file to write, YAML, or JSON if named .json")
    default = Measure()
    for name, metavar, text in (
        ("batch-size", "B", "sentences of a batch"),
        ("beam", "W", "beams of a sentence"),
        ("length", "T", "tokens of the longest sentence and of every translation"),
        ("repeats", "R", "rounds that count"),
    ):
        value = getattr(default, name.replace("-", "_"))
        add(f"--{name}", type=number, default=value, metavar=metavar,
            help=f"{text} (default: {value})")  # fmt: skip
    add("--cpu", action="store_true", help="do not use a GPU")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-measure``."""
    args = _parser().parse_args(argv)
    refuse_existing(args.output)
    measure = Measure(args.batch_size, args.beam, args.length, args.repeats, cpu=args.cpu)
    with warnings_only():
        prices = price_heads(args.checkpoint, measure)
    write_whole(args.output, prices.render(args.output.suffix == ".json"))
    print(render(prices, args.output))


if __name__ == "__main__":
    main()
