"""Whether tensors that were read can be the weights and gates of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import PruningError, shortened
from ..heads.layout import HeadLayout, Site
from .formats import BUDGETS_KEY, FROZEN_KEY, IMPORTANCE_KEY, MASK_KEY, trained_budgets

UNINITIALISED = "_float_tensor"
"""fairseq's buffers of this name hold whatever was in memory: NaN there says nothing."""


def check_tensors(weights: Mapping[Any, Any], where: str) -> None:
    """Every value is a tensor of finite numbers.

    Raises:
        PruningError: the first that is not.
    """
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise PruningError(f"{where} is damaged: {name!r} among its weights is no tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise PruningError(f"{where} is damaged: {name} is no plain tensor")
        if name.endswith(UNINITIALISED):
            continue
        if not bool(value.isfinite().all()):
            raise PruningError(
                f"{where} holds numbers that are not finite, in {name}: its training diverged, or "
                "the file is damaged"
            )


def check_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    """The names and shapes are those of a model.

    Raises:
        PruningError: what is missing, what is there besides, and what has another shape.
    """
    differences = []
    for what, names in (
        ("it lacks", [name for name in expected if name not in found]),
        ("it has besides", [name for name in found if name not in expected]),
    ):
        if names:
            differences.append(f"{what} {shortened(names)}")
    shapes = [
        f"{name} is {list(found[name].shape)} in it and {list(tensor.shape)} here"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if shapes:
        differences.append(shortened(shapes))
    if differences:
        raise PruningError(f"{where} is of another model: {'; '.join(differences)}")


def check_shared(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    """Weights that are one in a model, such as shared embeddings, are equal in a file of its names.

    Raises:
        PruningError: two that differ: PyTorch would take the last.
    """
    first: dict[Any, str] = {}
    for name, tensor in expected.items():
        if not tensor.numel():
            continue
        one = first.setdefault((tensor.data_ptr(), tensor.shape), name)
        if one != name and not torch.equal(found[one], found[name]):
            raise PruningError(
                f"{one} and {name} differ in {where}, and are one in this model: share embeddings "
                "as there (--share-all-embeddings, --share-decoder-input-output-embed, "
                "--untie-weights-roberta)"
            )


def check_gates(weights: Mapping[str, Tensor], layout: HeadLayout, where: str) -> None:
    """Importance, mask and budgets are those of these heads, and do not contradict each other.

    Args:
        weights: a state dict of the present format, with gates.
        layout: the model's heads.
        where: what to call it in messages.

    Raises:
        PruningError: the first thing that is amiss.
    """
    n = layout.num_heads
    importance = weights[IMPORTANCE_KEY]
    if importance.numel() != n:
        raise PruningError(
            f"{where} is damaged: it has importance for {importance.numel()} heads, but its model "
            f"has {layout}"
        )
    mask, frozen = weights.get(MASK_KEY), weights.get(FROZEN_KEY)
    if mask is None or frozen is None or mask.shape != (n,) or frozen.numel() != 1:
        raise PruningError(f"{where} is damaged: head_gates.mask or .frozen is missing or invalid")
    budgets = weights.get(BUDGETS_KEY)
    if importance.dim() != 1 or budgets is None or budgets.shape != (n + 1,):
        raise PruningError(
            f"{where} is damaged: head_gates.importance or .budgets is missing or invalid"
        )
    if not _is_binary(frozen):
        raise PruningError(
            f"{where} is half frozen: was it averaged over checkpoints from "
            "before and after the freeze?"
        )
    trained = trained_budgets(budgets)
    if not trained:
        raise PruningError(f"{where} is damaged: head_gates.budgets says no number of heads")
    if not bool(frozen):
        return
    if not _is_binary(mask):
        raise PruningError(
            f"{where} holds a mask of other values than 0 and 1: was it averaged over "
            "checkpoints that keep different heads?"
        )
    if int(mask.sum()) not in trained:
        raise PruningError(
            f"{where} is damaged: its mask keeps {int(mask.sum())} heads, and it is frozen at "
            f"{' and '.join(map(str, trained))}"
        )


def _is_binary(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())


def check_attentions(
    weights: Mapping[str, Tensor],
    layout: HeadLayout,
    kept: Mapping[Site, Sequence[int]] | None,
    where: str,
) -> None:
    """The attention weights have the shapes of these heads.

    Args:
        weights: a state dict of a transformer.
        layout: the model's heads.
        kept: the heads that are left of an exported model; None where all are.
        where: what to call it in messages.

    Raises:
        PruningError: a tensor that is missing, or has another shape.
    """
    for site, heads in zip(layout.sites, layout.heads, strict=True):
        left = heads if kept is None else len(kept[site])
        bias = weights.get(f"{site.module_name}.out_proj.bias")
        width = 0 if bias is None else bias.numel()
        rows = width // heads * left
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            size = width if name == "out_proj" else rows
            key = f"{site.module_name}.{name}"
            weight, bias = weights.get(f"{key}.weight"), weights.get(f"{key}.bias")
            if weight is None or bias is None or not width:
                raise PruningError(f"{where} is damaged, or of another layout: it lacks {key}")
            # Keys and values may come from an encoder of another width.
            columns = rows if name == "out_proj" else weight.size(-1)
            if width % heads or weight.shape != (size, columns) or bias.shape != (size,):
                raise PruningError(
                    f"{where} is damaged, or of another layout: {key} is {list(weight.shape)}, "
                    f"which is not that of {left} heads of {heads} in width {width}"
                )
