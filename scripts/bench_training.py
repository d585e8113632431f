#!/usr/bin/env python3
"""Cost of a training step: stock transformer, gated before and after the freeze, with a teacher.

Each round runs one update of every model on the same batch through fairseq's own trainer. The
teacher is the stock transformer.
"""

from __future__ import annotations

import statistics
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import benchmark
import torch
from fairseq.trainer import Trainer

from dsp_fairseq.errors import PruningError, exits_in_one_line


def make_trainer(args: Namespace, dictionary, flags: Sequence[str] = ()) -> Trainer:
    """A trainer of the stock model, or of the gated one if there are flags."""
    device = ["--cpu"] if args.device == "cpu" else []
    if args.precision == "fp16":
        device += ["--fp16", "--fp16-no-flatten-grads"]
    config = benchmark.configure(args.shape, bool(flags), *device, *flags)
    # fairseq-train's --bf16 is a TPU's.
    config.common.bf16 = args.precision == "bf16"
    task = benchmark.make_task(config, dictionary)
    model = task.build_model(config.model)
    return Trainer(config, task, model, task.build_criterion(config.criterion))


def make_trainers(args: Namespace, budget: int, dictionary) -> dict[str, Trainer]:
    """A trainer per side."""
    stock = make_trainer(args, dictionary)
    gated = ["--num-of-heads", str(budget), "--freeze-heads-after"]
    trainers = {
        "stock": stock,
        "gated": make_trainer(args, dictionary, [*gated, str(10**6)]),
        "frozen": make_trainer(args, dictionary, [*gated, "0"]),
    }
    with tempfile.TemporaryDirectory() as folder:
        teacher = Path(folder) / "teacher.pt"
        torch.save({"cfg": {"model": stock.cfg.model}, "model": stock.model.state_dict()}, teacher)
        distilled = ["--distill-from", str(teacher)]
        for name, after in (("gated", 10**6), ("frozen", 0)):
            trainer = make_trainer(args, dictionary, [*gated, str(after), *distilled])
            list(trainer.model.parameters())  # as fairseq-train counts them: the teacher is read
            trainers[f"{name}, taught"] = trainer
    return trainers


def add_size(parser: ArgumentParser) -> None:
    """The flags of a model's shape and of its batches."""
    parser.add_argument("--shape", choices=benchmark.SHAPES, default="tiny")
    parser.add_argument("--num-of-heads", type=int, help="K (a quarter of the heads if not given)")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens a batch")
    parser.add_argument("--vocabulary", type=int, default=8000)


@exits_in_one_line
def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=15)
    add_size(parser)
    benchmark.add_device(parser)
    args = parser.parse_args()
    if args.device == "cpu" and args.precision == "fp16":
        raise PruningError(f"--precision {args.precision} trains on a GPU only: add --device cuda")
    benchmark.prepare(args)
    dictionary = benchmark.make_dictionary(args.vocabulary)
    budget = args.num_of_heads or benchmark.HEADS[args.shape] // 4
    trainers = make_trainers(args, budget, dictionary)
    batches = [benchmark.make_batch(dictionary, args.tokens, seed) for seed in range(8)]

    def step(trainer: Trainer):
        return lambda number: trainer.train_step([batches[number % len(batches)]])

    seconds = benchmark.interleave(
        {name: step(trainer) for name, trainer in trainers.items()}, args.repeats, warm_up=2
    )
    print(
        f"one update of {args.tokens} tokens, {args.shape}, K = {budget} of "
        f"{benchmark.HEADS[args.shape]}, {benchmark.describe_device(args)}, {args.repeats} rounds"
    )
    figures = {}
    for name, values in seconds.items():
        # What a teacher costs is a matter of the same training without it.
        other = name.removesuffix(", taught") if "taught" in name else "stock"
        middle, low, high = benchmark.ratio(values, seconds[other])
        figures[name] = {"seconds": values, "of": other, "ratio": middle, "interval": [low, high]}
        print(
            f"{name:<14} median {statistics.median(values):7.3f} s   "
            f"x {middle:.3f} of {other}  [{low:.3f}, {high:.3f}]"
        )
    benchmark.write_json(args.json, {"shape": args.shape, "budget": budget, "sides": figures})


if __name__ == "__main__":
    main()
