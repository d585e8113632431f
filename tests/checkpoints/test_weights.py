"""State dicts without gates, without closed heads, counted and compared."""

from __future__ import annotations

import pytest
import torch
from saved_models import read_head_map

from dsp_fairseq.checkpoints.formats import FORMAT
from dsp_fairseq.checkpoints.weights import (
    count_bytes,
    count_parameters,
    digest_of,
    expand_weights,
    slice_weights,
    tie_embeddings,
    without_gates,
    zero_weights,
)
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


@pytest.fixture
def model(build):
    return build(6)


@pytest.fixture
def mask():
    return (torch.arange(24) % 5 == 0).float()


def test_gates_are_left_out_and_nothing_else(model, build_stock):
    weights = model.state_dict()
    assert without_gates(weights).keys() == build_stock().state_dict().keys()
    assert [name for name in weights if name.startswith("head_gates.")]


def test_zeros_stand_where_closed_heads_were(model, mask):
    weights, layout = model.state_dict(), model.head_gates.layout
    sliced = slice_weights(weights, layout, mask)
    zeroed = zero_weights(weights, layout, mask)
    assert all(torch.equal(v, zeroed[k]) for k, v in expand_weights(sliced, layout, mask).items())
    for site, heads in layout.kept(mask).items():
        q = zeroed[f"{site.module_name}.q_proj.weight"].view(4, 4, 16)
        out = zeroed[f"{site.module_name}.out_proj.weight"].view(16, 4, 4)
        for head in range(4):
            assert bool(q[head].any()) == bool(out[:, head].any()) == (head in heads)


def test_parameters_are_counted_once(build):
    tied = build(6, share_all_embeddings=True)
    own = sum(p.numel() for name, p in tied.named_parameters() if "head_gates" not in name)
    assert count_parameters(tied.state_dict()) == own
    assert count_bytes(tied.state_dict()) == 4 * own
    assert count_bytes({k: v.half() for k, v in build(6).state_dict().items()}) == 2 * (
        count_parameters(build(6).state_dict())
    )
    # A site without heads has weights of no numbers, which share no memory.
    empty = {"a.weight": torch.zeros(0, 3), "b.weight": torch.zeros(0, 3)}
    assert count_parameters(empty) == 0


def test_embeddings_that_a_gpu_made_copies_of_are_tied_again(build):
    tied = build(6, share_all_embeddings=True).state_dict()
    copies = {name: weight.clone() for name, weight in tied.items()}
    assert count_parameters(copies) > count_parameters(tied)
    tie_embeddings(copies)
    assert count_parameters(copies) == count_parameters(tied)
    assert digest_of(copies) == digest_of(tied)
    apart = build(6, share_decoder_input_output_embed=False).state_dict()
    count = count_parameters(apart)
    tie_embeddings(apart)
    assert count_parameters(apart) == count


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.bool])
def test_a_digest_is_of_names_and_numbers(dtype):
    weights = {"a": torch.ones(3, 2).to(dtype), "b": torch.tensor(1).to(dtype)}
    assert digest_of(weights) == digest_of({name: value.clone() for name, value in weights.items()})
    renamed = {"a": weights["a"], "c": weights["b"]}
    other = {"a": weights["a"].clone().fill_(0), "b": weights["b"]}
    assert len({digest_of(each) for each in (weights, renamed, other)}) == 3
