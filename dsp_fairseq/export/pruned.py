"""The format ``pruned``: a checkpoint of the gated model that has its kept heads only."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch

from ..checkpoints.checkpoint import EXPORT_FORMAT, SIGNATURE, Checkpoint
from ..checkpoints.formats import FORMAT, FORMAT_KEY
from ..checkpoints.weights import count_parameters, slice_weights
from ..heads.head_map import HeadMap
from ..heads.layout import format_kept_heads
from .exporter import Exporter, Order, register_exporter


@register_exporter
class PrunedExporter(Exporter):
    """Smaller and faster; every command of fairseq loads it with the user-dir."""

    name = "pruned"
    help = "loads in every fairseq command with --user-dir and is smaller and faster"

    def write(self, order: Order, output: Path, part: Path) -> int:
        pruned = pruned_checkpoint(order.source, order.head_map, output)
        pruned.state |= {SIGNATURE: order.signature, EXPORT_FORMAT: FORMAT}
        pruned.save(part)
        return count_parameters(pruned.weights)


def pruned_checkpoint(source: Checkpoint, head_map: HeadMap, output: Path) -> Checkpoint:
    """A checkpoint of the kept heads only, which its configuration names."""
    weights = slice_weights(source.weights, head_map.layout, head_map.mask)
    weights[FORMAT_KEY] = torch.tensor(float(FORMAT))
    pruned = source.derive(output, weights)
    node = pruned.state["cfg"]["model"]
    flags = vars(node) if isinstance(node, Namespace) else node
    flags["kept_heads"] = format_kept_heads(head_map.kept)
    flags["num_of_heads"] = str(head_map.budget)
    return pruned
