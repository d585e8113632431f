"""State dicts without closed heads."""

from __future__ import annotations

import torch

from dsp_fairseq.analysis.head_map import read_head_map
from dsp_fairseq.checkpoints.formats import FORMAT
from dsp_fairseq.checkpoints.weights import slice_weights
from dsp_fairseq.export.export import export_checkpoint


def test_parameters_removed_are_counted_exactly(checkpoint, tmp_path):
    model, path = checkpoint(6)
    export = export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    width, head_dim = 16, 4
    removed = (24 - 6) * (4 * width * head_dim + 3 * head_dim)
    dense = sum(p.numel() for n, p in model.named_parameters() if "head_gates" not in n)
    assert export.parameters == (dense, dense - removed)
    exported = torch.load(tmp_path / "pruned.pt", weights_only=True)
    gates = [key for key in exported["model"] if key.startswith("head_gates.")]
    assert gates == ["head_gates.format"]
    assert exported["dsp_format"] == exported["model"]["head_gates.format"] == FORMAT
    assert (tmp_path / "pruned.pt").stat().st_size < path.stat().st_size - 400000


def test_exported_weights_are_slices(checkpoint):
    model, path = checkpoint(6)
    head_map = read_head_map(path)
    weights = slice_weights(model.state_dict(), head_map.layout, head_map.mask)
    for site, heads in head_map.kept.items():
        full = model.state_dict()[f"{site.module_name}.q_proj.weight"].view(4, 4, -1)
        assert torch.equal(weights[f"{site.module_name}.q_proj.weight"], full[heads].flatten(0, 1))
