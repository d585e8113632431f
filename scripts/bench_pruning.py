#!/usr/bin/env python3
"""What pruning without training costs: loss and BLEU by ranking and K, with and without repair.

Each ranking chooses K heads of a trained dense model; what is left is measured as it is, and after
its output projections were fitted again. BLEU is that of fairseq-generate with beam 5.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmark
import torch

from dsp_fairseq.about import USER_DIR
from dsp_fairseq.analysis.ranked import Ranked, rank_and_repair
from dsp_fairseq.analysis.ranking import LEARNED, RANKINGS, RankingOptions
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.data.batches import load_split, split_batches
from dsp_fairseq.evaluation.bleu import score_file
from dsp_fairseq.export.export import write_export


@torch.no_grad()
def validation_loss(ranked: Ranked) -> float:
    """Loss per token of the valid split, with the heads that are open, in bits as fairseq's."""
    task, model = ranked.subject.task, ranked.subject.model
    if "valid" not in task.datasets:
        load_split(task, "valid")
    total, tokens = torch.zeros(()), 0
    for batch in split_batches(task, [model], "valid", 4096):
        loss, size, _ = ranked.subject.criterion(model, batch)
        total, tokens = total + loss.double().cpu(), tokens + size
    return float(total / tokens / torch.log(torch.tensor(2.0)))


def bleu(ranked: Ranked, args: Namespace) -> float:
    """sacreBLEU of a split, translated by the export of these heads."""
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder) / "pruned.pt", Path(folder) / "output"
        write_export(ranked.checkpoint, ranked.head_map, "pruned", path, path)
        command = [
            *(sys.executable, "-m", "fairseq_cli.generate", str(args.data), "--cpu"),
            *("--user-dir", str(USER_DIR), "--path", str(path), "--gen-subset", args.subset),
            *("--beam", "5", "--remove-bpe", "--required-batch-size-multiple", "1"),
            *("--num-workers", "0"),
        ]
        threads = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        with output.open("w") as file:
            subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, env=threads, check=True)
        return score_file(output, args.data, args.subset)["sacrebleu"].score


def measure(ranked: Ranked, args: Namespace) -> list[float]:
    """Loss, and BLEU unless it is not asked for."""
    return [validation_loss(ranked), *([] if args.no_bleu else [bleu(ranked, args)])]


def show(cells: list[Any]) -> None:
    """One row of the table."""
    texts = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print("  ".join(text.rjust(11) for text in texts), flush=True)


def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=1)
    parser.add_argument("checkpoint", type=Path, help="a dense model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--num-of-heads", type=int, nargs="+", default=[36, 24, 18, 12, 6])
    methods = [name for name in RANKINGS if name != LEARNED]
    parser.add_argument("--methods", choices=methods, nargs="+", default=methods)
    parser.add_argument("--subset", default="test", help="what is translated")
    parser.add_argument("--no-bleu", action="store_true", help="the loss only")
    parser.add_argument("--repair-batches", type=int, default=20)
    parser.add_argument("--max-tokens", type=int, default=4096, help="size of a batch")
    args = parser.parse_args()
    benchmark.prepare(args)
    options = RankingOptions("random", 0, max_tokens=args.max_tokens, cpu=True)
    columns = ["loss"] if args.no_bleu else ["loss", "BLEU"]
    repaired = [f"{name} fitted" for name in columns]
    show(["ranking", "seed", "K", *columns, *repaired, "s to rank", "s to fit"])
    n = load_checkpoint(args.checkpoint).layout.num_heads
    dense = rank_and_repair(args.checkpoint, args.data, replace(options, num_of_heads=n))
    figures: list[list[Any]] = [["dense", 1, n, *measure(dense, args)]]
    show(figures[0])
    for seed in range(1, args.repeats + 1):
        for method in args.methods:
            for budget in args.num_of_heads:
                chosen = replace(options, method=method, num_of_heads=budget, seed=seed)
                ranked = rank_and_repair(args.checkpoint, args.data, chosen)
                closed = measure(ranked, args)
                ranked.fit(args.repair_batches)
                cells = [method, seed, budget, *closed, *measure(ranked, args), ranked.seconds]
                show([*cells, ranked.repair.seconds])
                figures.append([*cells, ranked.repair.seconds])
    benchmark.write_json(args.json, figures)


if __name__ == "__main__":
    main()
