"""Checkpoints in which the closed heads' weights no longer exist."""

from __future__ import annotations

import hashlib
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..analysis.head_map import HeadMap, head_map_of
from ..checkpoints.checkpoint import (
    EXPORT_FORMAT,
    SCORED_BY,
    load_checkpoint,
    model_arguments,
    save_checkpoint,
    without_optimizer,
)
from ..checkpoints.formats import FORMAT, FORMAT_KEY
from ..checkpoints.validation import UNINITIALISED
from ..errors import PruningError
from ..estimators import ESTIMATORS
from ..files import in_place_of, refuse_existing
from ..heads.layout import HeadLayout, format_kept_heads
from ..modules.attention import head_rows
from ..pruning.flags import PruningConfig, pruning_flags
from .ctranslate2 import convert_to_ctranslate2

FORMATS = ("pruned", "fairseq", "ctranslate2")
_INPUTS = tuple(f"{name}_proj.{part}" for name in "qkv" for part in ("weight", "bias"))


# ---- weights


def slice_weights(
    weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> dict[str, Tensor]:
    """A state dict without the rows of q, k, v and the columns of out_proj of closed heads.

    Args:
        weights: state dict of a gated or a dense transformer.
        layout: its heads.
        mask: 1 for the heads to keep, ``[N]``.

    Returns:
        a new state dict without importance; tensors that do not change are shared.
    """
    return _map_attentions(
        weights, layout, mask, lambda rows, kept, head_dim, _: head_rows(rows, kept, head_dim)
    )


def expand_weights(
    weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> dict[str, Tensor]:
    """The inverse of :func:`slice_weights`: the dense shape again, zeros for what is gone."""

    def scatter(rows: Tensor, kept: Tensor, head_dim: int, heads: int) -> Tensor:
        full = rows.new_zeros(heads, head_dim, *rows.shape[1:])
        full[kept] = rows.view(len(kept), head_dim, *rows.shape[1:])
        return full.flatten(0, 1)

    return _map_attentions(weights, layout, mask, scatter)


def zero_weights(
    weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> dict[str, Tensor]:
    """A state dict in the dense shape, in which all weights of closed heads are zero."""
    return expand_weights(slice_weights(weights, layout, mask), layout, mask)


def _map_attentions(
    weights: Mapping[str, Tensor],
    layout: HeadLayout,
    mask: Tensor,
    change: Callable[[Tensor, Tensor, int, int], Tensor],
) -> dict[str, Tensor]:
    """Applies ``change(rows, kept, head_dim, heads)`` to all that belongs to single heads."""
    result = {k: v for k, v in weights.items() if not k.startswith("head_gates.")}
    for (site, kept), heads in zip(layout.kept(mask).items(), layout.heads, strict=True):
        numbers = torch.tensor(kept, dtype=torch.long)
        out = f"{site.module_name}.out_proj.weight"
        head_dim = weights[out].size(0) // heads
        for key in (f"{site.module_name}.{name}" for name in _INPUTS):
            result[key] = change(weights[key], numbers, head_dim, heads)
        columns = change(weights[out].t().contiguous(), numbers, head_dim, heads)
        result[out] = columns.t().contiguous()
    return result


# ---- checkpoints


@dataclass(frozen=True)
class Export:
    """What an export did, for the table that is printed."""

    head_map: HeadMap
    signature: str
    parameters: tuple[int, int]
    bytes: tuple[int, int]


def export_checkpoint(
    source: Path,
    output: Path,
    format: str,
    num_of_heads: str | None = None,
    data: Path | None = None,
    quantization: str = "float32",
) -> Export:
    """Exports a training checkpoint.

    Args:
        source: a checkpoint that fairseq-train wrote for a ``dsp_transformer``.
        output: a new file, or for ``ctranslate2`` a new folder.
        format: one of :data:`FORMATS`.
        num_of_heads: the budget, where the checkpoint is not frozen (default: the trained one).
        data: folder of the dictionaries, for ``ctranslate2`` (default: that of the training).
        quantization: CTranslate2's, ``int8`` or ``float32``.

    Raises:
        PruningError: the output exists, or the checkpoint cannot be exported.
    """
    refuse_existing(output)
    state = load_checkpoint(source)
    if "dsp_signature" in state:
        raise PruningError(f"{source} is exported already: give the training checkpoint")
    head_map = head_map_of(state, source, num_of_heads)
    if head_map.importance is None:
        # An exported model that was trained further.
        state = {**state, "model": expand_weights(state["model"], head_map.layout, head_map.mask)}
    signature = _signature(source, state, head_map)
    with in_place_of(output) as temporary:
        if format == "ctranslate2":
            parameters = convert_to_ctranslate2(
                pruned_state(state, head_map), temporary, data, quantization
            )
        else:
            make = pruned_state if format == "pruned" else dense_state
            exported = make(state, head_map)
            exported["dsp_signature"] = signature
            exported[EXPORT_FORMAT] = FORMAT
            save_checkpoint(exported, temporary, output)
            parameters = count_parameters(exported["model"])
    dense = {k: v for k, v in state["model"].items() if not k.startswith("head_gates.")}
    return Export(
        head_map, signature, (count_parameters(dense), parameters), (_bytes(dense), _size(output))
    )


def pruned_state(state: Mapping[str, Any], head_map: HeadMap) -> dict[str, Any]:
    """A checkpoint of a ``dsp_transformer`` that has the kept heads only, named in its config."""
    exported = without_optimizer(state)
    exported["model"] = slice_weights(state["model"], head_map.layout, head_map.mask)
    exported["model"][FORMAT_KEY] = torch.tensor(float(FORMAT))
    kept = head_map.layout.kept(head_map.mask)
    arguments = exported["cfg"]["model"]
    _set(arguments, "kept_heads", format_kept_heads(kept))
    _set(arguments, "num_of_heads", str(head_map.budget))
    return exported


def dense_state(state: Mapping[str, Any], head_map: HeadMap) -> dict[str, Any]:
    """A checkpoint of fairseq's own ``transformer``, in which closed heads are zeros.

    Its config holds plain containers only, so that it loads with ``weights_only=True`` where this
    package is not installed.
    """
    exported = without_optimizer(state)
    exported["model"] = zero_weights(state["model"], head_map.layout, head_map.mask)
    arguments = vars(model_arguments(state)).copy()
    for name in pruning_flags():
        arguments.pop(name, None)
    arguments |= {"arch": "transformer", "_name": "transformer", "user_dir": None}
    arguments |= {"criterion": "label_smoothed_cross_entropy", "optimizer": "adam"}
    # CTranslate2 reads and sets attributes, fairseq's config reads items.
    plain = OrderedDict(_plain(arguments))
    vars(plain).update(plain)
    config = _plain({k: v for k, v in exported["cfg"].items() if k != "model"})
    config["model"] = plain
    config["common"] = {**config.get("common", {}), "user_dir": None}
    criterion = {**(config.get("criterion") or {}), "_name": "label_smoothed_cross_entropy"}
    config["criterion"] = criterion
    config["optimizer"] = {"_name": "adam"}
    exported["cfg"] = config
    exported["extra_state"] = {}
    return exported


def _plain(value: Any) -> Any:
    """Namespaces as dictionaries, all the way down."""
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _set(arguments: Any, name: str, value: Any) -> None:
    if isinstance(arguments, Namespace):
        setattr(arguments, name, value)
    else:
        arguments[name] = value


def _signature(source: Path, state: Mapping[str, Any], head_map: HeadMap) -> str:
    arguments = model_arguments(state)
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    seeds = (
        getattr(arguments, "gate_seed", None),
        getattr(arguments, "seed", None),
        _plain(state["cfg"]).get("common", {}).get("seed"),
    )
    method = state.get(SCORED_BY) or PruningConfig.from_namespace(arguments).gate_estimator
    tuned = _plain(state["cfg"]).get("checkpoint", {}).get("finetune_from_model")
    chosen = ESTIMATORS[method].learns if method in ESTIMATORS else False
    if chosen and tuned and not state["model"].get("head_gates.last_change"):
        # The training began with heads that were chosen before.
        method = "given"
    seed = next((seed for seed in seeds if seed is not None), None)
    return "|".join(
        [
            f"K:{head_map.budget}",
            f"N:{head_map.layout.num_heads}",
            f"method:{method}",
            f"frozen:{'yes' if head_map.frozen else 'no'}",
            f"seed:{seed}",
            f"sha256:{digest.hexdigest()[:12]}",
        ]
    )


def _tensors(weights: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Each parameter once: tied embeddings share their memory."""
    seen = set()
    for name, tensor in weights.items():
        key = (tensor.data_ptr(), tensor.shape)
        counted = not name.endswith(("version", UNINITIALISED, FORMAT_KEY))
        if not counted or (tensor.numel() and key in seen):
            continue
        seen.add(key)
        yield tensor


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """How many numbers a state dict holds, those of tied embeddings once."""
    return sum(tensor.numel() for tensor in _tensors(weights))


def _bytes(weights: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(weights))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
