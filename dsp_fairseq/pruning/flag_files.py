"""Flags that may name a file, replaced by what the file says.

So the configuration that a checkpoint stores does not depend on another file.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from ..checkpoints.checkpoint import load_checkpoint
from ..errors import PruningError
from ..heads.costs import resolve_costs
from ..heads.layout import NO_HEADS


def resolve_head_costs(args: Any) -> None:
    """Replaces the file that ``--head-costs`` may name by the prices in it.

    Raises:
        PruningError: there is no such file, or it holds no prices.
    """
    if getattr(args, "head_costs", None):
        with open_dict(args) if isinstance(args, DictConfig) else nullcontext():
            args.head_costs = resolve_costs(args.head_costs)


def resolve_kept_heads(args: Any) -> None:
    """Replaces the file that ``--kept-heads`` may name by the kept heads that the file names.

    Raises:
        PruningError: the file is not an exported checkpoint, or another number of heads is asked
            for than the model has.
    """
    path, asked = Path(args.kept_heads), getattr(args, "num_of_heads", None)
    if asked is None and getattr(args, "cost_budget", None) is not None:
        raise PruningError("--kept-heads names the heads of this model: leave out --cost-budget")
    if "=" in args.kept_heads or args.kept_heads == NO_HEADS:
        number = sum(part.count(",") + 1 for part in args.kept_heads.split(";") if "=" in part)
        if asked is not None and str(asked) != str(number):
            raise PruningError(
                f"--num-of-heads {asked}: this model was exported with {number} heads; export its "
                "training checkpoint again for another number"
            )
        return
    exported = load_checkpoint(path).args
    kept = getattr(exported, "kept_heads", None)
    if kept is None:
        raise PruningError(f"--kept-heads {path}: that is not a checkpoint that dsp-export wrote")
    if asked not in (None, exported.num_of_heads):
        raise PruningError(
            f"--kept-heads {path} has {exported.num_of_heads} heads: leave out --num-of-heads"
        )
    with open_dict(args) if isinstance(args, DictConfig) else nullcontext():
        args.kept_heads = kept
