"""State dicts without their gates, without their closed heads, and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping

import torch
from torch import Tensor

from ..heads.layout import HeadLayout
from ..modules.head_rows import change_rows, head_rows, spread_rows
from .formats import GATES
from .validation import UNINITIALISED


def without_gates(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without importance and all else that belongs to the choice of heads."""
    return {name: value for name, value in weights.items() if not name.startswith(GATES)}


def slice_weights(
    weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> dict[str, Tensor]:
    """A state dict without the rows of q, k, v and the columns of out_proj of closed heads.

    Args:
        weights: state dict of a gated or a dense model.
        layout: its heads.
        mask: 1 for the heads to keep, ``[N]``.

    Returns:
        a new state dict without gates; tensors that do not change are shared.
    """
    return _change_heads(
        weights, layout, mask, lambda rows, kept, head_dim, _: head_rows(rows, kept, head_dim)
    )


def expand_weights(
    weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> dict[str, Tensor]:
    """The inverse of :func:`slice_weights`: the dense shape again, zeros for what is gone."""
    return _change_heads(weights, layout, mask, spread_rows)


def zero_weights(
    weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> dict[str, Tensor]:
    """A state dict in the dense shape without gates, all weights of closed heads zero."""
    return expand_weights(slice_weights(weights, layout, mask), layout, mask)


def _change_heads(
    weights: Mapping[str, Tensor],
    layout: HeadLayout,
    mask: Tensor,
    change: Callable[[Tensor, Tensor, int, int], Tensor],
) -> dict[str, Tensor]:
    """Applies ``change(rows, kept, head_dim, num_heads)`` to all that belongs to single heads."""
    result = without_gates(weights)
    for (site, kept), heads in zip(layout.kept(mask).items(), layout.heads, strict=True):
        numbers = torch.tensor(kept, dtype=torch.long)
        prefix = f"{site.module_name}."
        head_dim = weights[f"{prefix}out_proj.weight"].size(0) // heads
        result |= change_rows(
            weights,
            prefix,
            lambda rows, n=numbers, d=head_dim, h=heads: change(rows, n, d, h),  # type: ignore[misc]
        )
    return result


_EMBEDDINGS = ("embed_tokens.weight", "output_projection.weight", "lm_head.weight")
"""How the names end of weights that models tie."""


def tie_embeddings(weights: MutableMapping[str, Tensor]) -> None:
    """Lets equal embeddings share their memory again.

    fairseq moves each weight from a GPU on its own when it saves, and so makes several of one.
    """
    found: list[Tensor] = []
    for name, tensor in weights.items():
        if name.endswith(_EMBEDDINGS):
            same = (other for other in found if _is_equal(tensor, other))
            weights[name] = next(same, tensor)
            found.append(weights[name])


def _is_equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _parameters(weights: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Each parameter once: tied embeddings share their memory."""
    seen = set()
    for name, tensor in without_gates(weights).items():
        key = (tensor.data_ptr(), tensor.shape)
        if name.endswith(("version", UNINITIALISED)) or (tensor.numel() and key in seen):
            continue
        seen.add(key)
        yield tensor


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """How many numbers a state dict holds besides gates, those of tied embeddings once."""
    return sum(tensor.numel() for tensor in _parameters(weights))


def count_bytes(weights: Mapping[str, Tensor]) -> int:
    """The size of these numbers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _parameters(weights))


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """A digest of names and numbers: files of other names and states may hold the same weights."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
