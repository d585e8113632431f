"""Reading checkpoints without running code from them, and writing them."""

from __future__ import annotations

import copy
import inspect
import os
import re
import zipfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.distributed.utils import _TensorPlaceholder
from fairseq.models import ARCH_CONFIG_REGISTRY
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from ..errors import PruningError
from ..heads.family import architecture
from .formats import check_format, upgrade_weights
from .validation import check_tensors

EXPORT_FORMAT = "dsp_format"
"""In a checkpoint of dsp-export, the number of its format."""

SCORED_BY = "dsp_scored_by"
"""In a checkpoint of dsp-score-heads, the name of the method that ranked its heads."""


def allow_checkpoint_types() -> None:
    """Allow-lists the types in fairseq's translation checkpoints that PyTorch refuses otherwise.

    ``argparse.Namespace`` holds the model's flags; numpy's scalars come from ``--eval-bleu``.

    Raises:
        PruningError: a PyTorch that would unpickle anything.
    """
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise PruningError(
            f"PyTorch {torch.__version__} runs code from checkpoints: install torch 2.6 or newer"
        )
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "").lower() in ("1", "y", "yes", "true"):
        raise PruningError(
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set, so checkpoints could run code: unset it; "
            "this package allows all that checkpoints need"
        )
    numeric = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"]]
    types: list[Any] = [Namespace, np.ndarray, np.dtype, *numeric, type(np.dtype(bool))]
    # Files written under numpy 1 and 2 name the same two functions differently.
    core = np._core if hasattr(np, "_core") else np.core
    multiarray = core.multiarray
    for package in ("numpy.core", "numpy._core"):
        types.append((multiarray._reconstruct, f"{package}.multiarray._reconstruct"))
        types.append((multiarray.scalar, f"{package}.multiarray.scalar"))
    # A resume in several processes sends the configuration of rank 0 through torch.load.
    types += [DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode, _TensorPlaceholder]
    types += [defaultdict, Any, list, dict, int]
    torch.serialization.add_safe_globals(types)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Loads a fairseq checkpoint, without running code from it, in the present format.

    Raises:
        PruningError: not a file with weights and a model's arguments, one that is damaged, or one
            that a newer version wrote.
    """
    state = _read(path)
    if EXPORT_FORMAT in state:
        check_format(state[EXPORT_FORMAT], str(path))
    check_tensors(state["model"], str(path))
    upgrade_weights(state["model"], str(path))
    return state


def peek(path: Path) -> dict[str, Any]:
    """As :func:`load_checkpoint`, but cheap for large files: no tensor is read or checked.

    A file that was cut off is found out all the same, since its table of contents is at its end.
    """
    return _read(path, mmap=zipfile.is_zipfile(path))


def _read(path: Path, mmap: bool = False) -> dict[str, Any]:
    try:
        path.open("rb").close()
    except OSError as error:
        raise PruningError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a file of another kind makes the unpickler fail in any way
        refused = re.search(r"(?i)unsupported (?:global: )?GLOBAL (\S+)", str(error))
        reason = f"it holds {refused[1]}" if refused else "it is of another kind, or damaged"
        raise PruningError(f"{path} is not a checkpoint that can be loaded: {reason}") from None
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise PruningError(f"{path} is not a fairseq checkpoint: it has no weights under 'model'")
    if not isinstance(_stored_arguments(state), Mapping | Namespace):
        raise PruningError(f"{path} is not a fairseq checkpoint: it has no model configuration")
    return state


def _stored_arguments(state: Mapping[str, Any]) -> Any:
    cfg = state.get("cfg")
    return cfg.get("model") if isinstance(cfg, Mapping) else state.get("args")


def model_arguments(state: Mapping[str, Any]) -> Namespace:
    """A copy of the model's arguments; the architecture fills in what the checkpoint lacks."""
    node = _stored_arguments(state)
    args = Namespace(**(node if isinstance(node, Mapping) else vars(node)))
    fill_in = ARCH_CONFIG_REGISTRY.get(architecture(args))
    if fill_in is not None:
        # Without the checks of a training's flags.
        inspect.unwrap(fill_in)(args)
    return args


def without_optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without weights and optimizer, whose config may be changed.

    What fairseq needs for loading stays: ``optimizer_history``, and the place in the data.
    """
    copied = {k: v for k, v in state.items() if k not in ("last_optimizer_state", "model")}
    # Older versions of fairseq wrote ``args`` instead.
    if isinstance(state.get("cfg"), Mapping):
        copied["cfg"] = copy.deepcopy(state["cfg"])
        copied["args"] = None
    # fairseq reads the number of updates here; validation scores hold numpy types.
    copied["extra_state"] = {
        k: v for k, v in (state.get("extra_state") or {}).items() if k == "train_iterator"
    }
    return copied


# ---- writing


def save_checkpoint(state: Mapping[str, Any], path: Path, output: Path) -> None:
    """Writes a checkpoint to a temporary path.

    Args:
        state: the checkpoint.
        path: the file to write.
        output: the name that it will get, for messages.

    Raises:
        PruningError: it cannot be written, since the disk is full.
    """
    try:
        with path.open("wb") as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:  # PyTorch makes the second of the first
        reason = getattr(error, "strerror", None) or "the disk is full, or files may not be so big"
        raise PruningError(f"cannot write {output}: {reason}") from None
