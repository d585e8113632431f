"""What a translation checkpoint may hold, for ``torch.load(weights_only=True)``."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from .errors import UsageError


def allow_checkpoint_types() -> None:
    """Allow-lists the types in fairseq's translation checkpoints that PyTorch refuses otherwise.

    ``argparse.Namespace`` holds the model's flags; numpy's scalars come from ``--eval-bleu``.

    Raises:
        UsageError: a PyTorch that would unpickle anything.
    """
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise UsageError(
            f"PyTorch {torch.__version__} runs code from checkpoints: install torch 2.6 or newer"
        )
    numeric = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"]]
    types: list[Any] = [argparse.Namespace, np.ndarray, np.dtype, *numeric, type(np.dtype(bool))]
    # Files written under numpy 1 and 2 name the same two functions differently.
    core = np._core if hasattr(np, "_core") else np.core
    multiarray = core.multiarray
    for package in ("numpy.core", "numpy._core"):
        types.append((multiarray._reconstruct, f"{package}.multiarray._reconstruct"))
        types.append((multiarray.scalar, f"{package}.multiarray.scalar"))
    torch.serialization.add_safe_globals(types)
