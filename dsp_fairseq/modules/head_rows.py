"""What of an attention's weights belongs to single heads: rows of q, k, v, columns of out_proj."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

_ROWS = tuple(f"{name}_proj.{part}" for name in "qkv" for part in ("weight", "bias"))
_COLUMNS = "out_proj.weight"


def head_rows(x: Tensor, kept: Tensor, head_dim: int) -> Tensor:
    """The rows of the kept heads: ``[num_heads*D, ...]`` -> ``[len(kept)*D, ...]``."""
    return x.unflatten(0, (-1, head_dim)).index_select(0, kept).flatten(0, 1)


def spread_rows(x: Tensor, kept: Tensor, head_dim: int, num_heads: int) -> Tensor:
    """The inverse of :func:`head_rows`: ``[num_heads*D, ...]``, zero for the heads not kept."""
    full = x.new_zeros(num_heads, head_dim, *x.shape[1:])
    full[kept] = x.view(len(kept), head_dim, *x.shape[1:])
    return full.flatten(0, 1)


def rows_of(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """All that belongs to single heads, by name, as rows ``[num_heads*D, ...]``.

    Args:
        weights: a state dict.
        prefix: the attention module's name in it, with a dot behind it, or nothing.
    """
    rows = {f"{prefix}{name}": weights[f"{prefix}{name}"] for name in _ROWS}
    return {**rows, f"{prefix}{_COLUMNS}": weights[f"{prefix}{_COLUMNS}"].t()}


def change_rows(
    weights: Mapping[str, Tensor], prefix: str, change: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Applies a function to all of :func:`rows_of`, and returns it as it stands in a state dict."""
    changed = {name: change(rows) for name, rows in rows_of(weights, prefix).items()}
    out = f"{prefix}{_COLUMNS}"
    return {**changed, out: changed[out].t().contiguous()}
