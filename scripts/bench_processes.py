#!/usr/bin/env python3
"""Time of an update in several processes, with either of fairseq's backends for them.

The processes run side by side on the CPUs of this machine, through fairseq's own trainer; each
works on a batch of its own. Each round runs one update of every side.
"""

from __future__ import annotations

import io
import os
import statistics
import tempfile
from argparse import Namespace
from contextlib import nullcontext, redirect_stderr
from typing import Any

import bench_training
import benchmark
import fairseq.models.distributed_fairseq_model as wrappers
import torch
import torch.distributed
import torch.multiprocessing
from fairseq.trainer import Trainer

BACKENDS = ("legacy_ddp", "pytorch_ddp")
STATES = {"gated": 10**6, "frozen": 0}
"""When heads are frozen: never, and at once."""


def _without_device(**flags: Any) -> Any:
    """PyTorch's wrapper, to which fairseq names a GPU whether there is one or not."""
    return torch.nn.parallel.DistributedDataParallel(
        **{**flags, "device_ids": None, "output_device": None}
    )


def make_trainer(args: Namespace, dictionary: Any, backend: str, after: int) -> Trainer:
    """A trainer of the gated model in this process of several."""
    config = benchmark.configure(
        *(args.shape, True, "--num-of-heads", str(args.num_of_heads)),
        *("--freeze-heads-after", str(after), "--ddp-backend", backend, "--cpu"),
    )
    task = benchmark.make_task(config, dictionary)
    model, criterion = task.build_model(config.model), task.build_criterion(config.criterion)
    # The model is told of one process only: with several it refuses pytorch_ddp without a GPU.
    config.distributed_training.distributed_world_size = args.processes
    return Trainer(config, task, model, criterion)


def work(rank: int, args: Namespace, folder: str) -> None:
    """One process; the first prints what all took."""
    benchmark.prepare(args)
    wrappers.DistributedDataParallel = _without_device
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=args.processes
    )
    dictionary = benchmark.make_dictionary(args.vocabulary)
    trainers = {
        f"{state}, {backend}": make_trainer(args, dictionary, backend, after)
        for state, after in STATES.items()
        for backend in BACKENDS
    }
    batches = [
        benchmark.make_batch(dictionary, args.tokens, seed * args.processes + rank)
        for seed in range(8)
    ]

    def step(trainer: Trainer) -> Any:
        def run(number: int) -> None:
            trainer.train_step([batches[number % len(batches)]])
            torch.distributed.barrier()

        return run

    steps = {name: step(trainer) for name, trainer in trainers.items()}
    # The progress of one of them is that of all.
    with nullcontext() if rank == 0 else redirect_stderr(io.StringIO()):
        seconds = benchmark.interleave(steps, args.repeats, warm_up=2)
    if rank == 0:
        report(args, seconds)
    torch.distributed.destroy_process_group()


def report(args: Namespace, seconds: dict[str, list[float]]) -> None:
    """A line a side: seconds, and the ratio to legacy_ddp."""
    print(
        f"one update of {args.tokens} tokens in each of {args.processes} processes, {args.shape}, "
        f"K = {args.num_of_heads} of {benchmark.HEADS[args.shape]}, {args.repeats} rounds"
    )
    figures = {}
    for name, values in seconds.items():
        other = f"{name.partition(',')[0]}, {BACKENDS[0]}"
        middle, low, high = benchmark.ratio(values, seconds[other])
        figures[name] = {"seconds": values, "ratio": middle, "interval": [low, high]}
        print(
            f"{name:<20} median {statistics.median(values):7.3f} s   "
            f"x {middle:.3f} of {BACKENDS[0]}  [{low:.3f}, {high:.3f}]"
        )
    benchmark.write_json(args.json, {"shape": args.shape, "sides": figures})


def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=15)
    bench_training.add_size(parser)
    parser.add_argument(
        "--processes", type=int, default=2, help="processes, each with these threads"
    )
    parser.set_defaults(threads=1)
    args = parser.parse_args()
    args.num_of_heads = args.num_of_heads or benchmark.HEADS[args.shape] // 4
    # PyTorch warns where all parameters take part, as before the freeze.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (args, folder), args.processes)


if __name__ == "__main__":
    main()
