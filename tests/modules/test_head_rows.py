"""Rows and columns of single heads: taking, spreading and writing back."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.modules.head_rows import change_rows, head_rows, rows_of, spread_rows

HEADS, WIDTH, D = 4, 12, 3


@pytest.fixture
def weights():
    parts = {f"{name}_proj.bias": torch.rand(WIDTH) for name in ("q", "k", "v", "out")}
    parts |= {f"{name}_proj.weight": torch.rand(WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
    return {f"site.{name}": value for name, value in parts.items()}


@pytest.mark.parametrize("kept", [[], [2], [0, 3], [3, 1, 2, 0]])
@pytest.mark.parametrize("shape", [(WIDTH,), (WIDTH, 5)])
def test_spreading_is_the_inverse_of_taking(kept, shape):
    x, numbers = torch.rand(shape), torch.tensor(kept, dtype=torch.long)
    taken = head_rows(x, numbers, D)
    assert taken.shape == (len(kept) * D, *shape[1:])
    spread = spread_rows(taken, numbers, D, HEADS)
    for head in range(HEADS):
        rows = slice(head * D, (head + 1) * D)
        expected = x[rows] if head in kept else torch.zeros_like(x[rows])
        assert torch.equal(spread[rows], expected)


def test_what_belongs_to_heads_are_rows_of_inputs_and_columns_of_the_output(weights):
    rows = rows_of(weights, "site.")
    assert rows.keys() == weights.keys() - {"site.out_proj.bias"}
    assert torch.equal(rows["site.out_proj.weight"], weights["site.out_proj.weight"].t())
    same = change_rows(weights, "site.", lambda x: x)
    assert all(torch.equal(value, weights[name]) for name, value in same.items())
    second = change_rows(weights, "site.", lambda x: head_rows(x, torch.tensor([1]), D))
    assert torch.equal(
        second["site.out_proj.weight"], weights["site.out_proj.weight"][:, D : 2 * D]
    )
    assert torch.equal(second["site.k_proj.bias"], weights["site.k_proj.bias"][D : 2 * D])
    assert all(value.is_contiguous() for value in second.values())
