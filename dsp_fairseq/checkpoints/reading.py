"""Reading a checkpoint's file without running code from it."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.distributed.utils import _TensorPlaceholder
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from ..errors import PruningError


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


def read_state(path: Path, mmap: bool = False) -> dict[str, Any]:
    """What ``torch.save`` wrote: a dictionary with weights under ``model``, and a model's flags.

    Args:
        path: the file.
        mmap: leave tensors on the disk until they are looked at.

    Raises:
        PruningError: there is no such file, or it holds something else.
    """
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
    if not isinstance(stored_arguments(state), Mapping | Namespace):
        raise PruningError(f"{path} is not a fairseq checkpoint: it has no model configuration")
    return state


def stored_arguments(state: Mapping[str, Any]) -> Any:
    """The model's flags, as a namespace or a mapping; None where there are none."""
    cfg = state.get("cfg")
    return cfg.get("model") if isinstance(cfg, Mapping) else state.get("args")
