#!/usr/bin/env python3
"""Cost of a training step: stock transformer, gated before the freeze, gated after it.

Each round runs one update of every model on the same batch through fairseq's own trainer.
"""

from __future__ import annotations

import statistics

import benchmark
from fairseq.trainer import Trainer


def make_trainer(shape: str, budget: int | None, freeze_after: int, dictionary) -> Trainer:
    """A trainer of the stock model (no budget) or of the gated one."""
    flags = []
    if budget is not None:
        flags = ["--num-of-heads", str(budget), "--freeze-heads-after", str(freeze_after)]
    config = benchmark.configure(shape, budget is not None, *flags)
    task = benchmark.make_task(config, dictionary)
    model = task.build_model(config.model)
    return Trainer(config, task, model, task.build_criterion(config.criterion))


def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=15)
    parser.add_argument("--shape", choices=benchmark.SHAPES, default="tiny")
    parser.add_argument("--num-of-heads", type=int, help="K (a quarter of the heads if not given)")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens a batch")
    parser.add_argument("--vocabulary", type=int, default=8000)
    args = parser.parse_args()
    benchmark.prepare(args)
    dictionary = benchmark.make_dictionary(args.vocabulary)
    budget = args.num_of_heads or benchmark.HEADS[args.shape] // 4
    trainers = {
        "stock": make_trainer(args.shape, None, 0, dictionary),
        "gated": make_trainer(args.shape, budget, 10**6, dictionary),
        "frozen": make_trainer(args.shape, budget, 0, dictionary),
    }
    batches = [benchmark.make_batch(dictionary, args.tokens, seed) for seed in range(8)]

    def step(trainer: Trainer):
        return lambda number: trainer.train_step([batches[number % len(batches)]])

    seconds = benchmark.interleave(
        {name: step(trainer) for name, trainer in trainers.items()}, args.repeats, warm_up=2
    )
    print(
        f"one update of {args.tokens} tokens, {args.shape}, K = {budget} of "
        f"{benchmark.HEADS[args.shape]}, {args.threads} threads, {args.repeats} rounds"
    )
    figures = {}
    for name, values in seconds.items():
        middle, low, high = benchmark.ratio(values, seconds["stock"])
        figures[name] = {"seconds": values, "ratio": middle, "interval": [low, high]}
        print(
            f"{name:<8} median {statistics.median(values):7.3f} s   "
            f"x {middle:.3f} of stock  [{low:.3f}, {high:.3f}]"
        )
    benchmark.write_json(args.json, {"shape": args.shape, "budget": budget, "sides": figures})


if __name__ == "__main__":
    main()
