#!/usr/bin/env python3
"""The table at the end of the demo: heads kept per site, BLEU and time of some runs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.evaluation.bleu import score_file


def describe(run: Path, data: Path) -> list[str]:
    """One row: heads, heads kept in the layers of each kind of site, BLEU, training time."""
    heads = load_checkpoint(run / "checkpoint_best.pt").head_map()
    kept = heads.layout.kept(heads.mask)
    per_kind = [
        " ".join(str(len(numbers)) for site, numbers in kept.items() if site.kind == kind)
        for kind in heads.layout.kinds()
    ]
    seconds = re.findall(r"done training in ([\d.]+) seconds", (run / "train.log").read_text())
    bleu = score_file(run / "test.out", data)["sacrebleu"].score
    return [
        f"{heads.budget} of {heads.layout.num_heads}",
        *per_kind,
        f"{bleu:.2f}",
        f"{sum(map(float, seconds)):.0f} s",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of the demo's runs")
    parser.add_argument("--data", required=True, type=Path)
    args = parser.parse_args()
    header = ["heads", "encoder.self", "decoder.self", "decoder.cross", "sacreBLEU", "training"]
    rows = [header, *(describe(run, args.data) for run in args.runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print("(kept heads per layer, from the first to the last)")


if __name__ == "__main__":
    main()
