"""The head-pruning flags: one dataclass, parsed and checked once, when the model is built."""

import logging
import math
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import DictConfig, OmegaConf, open_dict

from .checkpoints import load_checkpoint, model_arguments
from .errors import UsageError
from .heads import KINDS, NO_HEADS, HeadLayout
from .subset import ESTIMATORS

logger = logging.getLogger(__name__)


@dataclass
class PruningConfig(FairseqDataclass):
    """Flags of the gated transformer that say how heads are chosen."""

    # Optional[...] and not "... | None": fairseq's parser generator reads these annotations.
    num_of_heads: Optional[str] = field(
        default=None,
        metadata={"help": "K, how many attention heads the model keeps: 0..N (required)"},
    )
    gate_estimator: ChoiceEnum(list(ESTIMATORS)) = field(  # type: ignore[valid-type]
        default="gumbel",
        metadata={"help": "how gates are drawn from importance (default: gumbel)"},
    )
    initial_temperature: float = field(
        default=0.1, metadata={"help": "temperature of the first update (default: 0.1)"}
    )
    final_temperature: float = field(
        default=1e-8,
        metadata={"help": "temperature from --cooldown-steps on (default: 1e-8)"},
    )
    cooldown_steps: int = field(
        default=15000,
        metadata={
            "help": "updates over which the temperature falls, log-linearly (default: 15000)"
        },
    )
    freeze_heads_after: Optional[int] = field(
        default=None,
        metadata={
            "help": "updates after which the top K heads become a fixed mask and importance stops "
            "learning (default: --cooldown-steps)"
        },
    )
    keep_at_least: str = field(
        default="",
        metadata={
            "help": "floor on the heads kept per kind of site, as in "
            "decoder.cross=1,encoder.self=2; also decoder.self (default: no floor)"
        },
    )
    kept_heads: Optional[str] = field(
        default=None,
        metadata={
            "help": "build the model of this exported checkpoint, to train it further (instead of "
            "--num-of-heads; default: a model with all its heads)"
        },
    )
    gate_seed: Optional[int] = field(
        default=None, metadata={"help": "seed of the gates' own noise (default: --seed)"}
    )

    @classmethod
    def from_namespace(cls, args: Any) -> "PruningConfig":
        """Reads the flags off a model's arguments; what is missing has its default."""
        return cls(**{f.name: getattr(args, f.name, f.default) for f in fields(cls) if f.init})


@dataclass(frozen=True)
class PruningPlan:
    """The flags after parsing and checking against a head layout."""

    budget: int
    estimator: str
    initial_temperature: float
    final_temperature: float
    cooldown_steps: int
    freeze_after: int
    floors: tuple[tuple[Sequence[int], int], ...]
    seed: int


def parse_budget(text: Any, num_heads: int) -> int:
    """K from its flag.

    Raises:
        UsageError: not given, not a whole number, or outside ``0..N``.
    """
    allowed = f"a whole number from 0 to {num_heads} (this model has {num_heads} heads)"
    if text is None:
        raise UsageError(f"--num-of-heads is missing: give {allowed}")
    try:
        budget = int(str(text))
    except ValueError:
        raise UsageError(f"--num-of-heads {text!r} is not {allowed}") from None
    if not 0 <= budget <= num_heads:
        raise UsageError(f"--num-of-heads {budget} is not {allowed}")
    return budget


def parse_floors(text: str, layout: HeadLayout) -> tuple[tuple[Sequence[int], int], ...]:
    """(indices, at least) pairs from ``kind=count,kind=count``.

    Raises:
        UsageError: an unknown kind, a count that is no whole number, or more than there are.
    """
    floors = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        kind, _, count = part.partition("=")
        if kind not in KINDS or not count.isdecimal() or kind in floors:
            raise UsageError(
                f"--keep-at-least {part!r}: write KIND=COUNT, each kind once, with KIND one of "
                f"{', '.join(KINDS)}"
            )
        indices = layout.indices(kind)
        if int(count) > len(indices):
            raise UsageError(f"--keep-at-least {part}: the model has {len(indices)} {kind} heads")
        floors[kind] = (tuple(indices), int(count))
    return tuple(floors.values())


def plan_pruning(args: Any, layout: HeadLayout) -> PruningPlan:
    """Parses and checks all pruning flags.

    Raises:
        UsageError: the first flag that cannot be used, and what would do.
    """
    config = PruningConfig.from_namespace(args)
    budget = parse_budget(config.num_of_heads, layout.num_heads)
    floors = parse_floors(config.keep_at_least, layout)
    if sum(count for _, count in floors) > budget:
        raise UsageError(
            f"--keep-at-least {config.keep_at_least} asks for more heads than "
            f"--num-of-heads {budget}"
        )
    start, end = float(config.initial_temperature), float(config.final_temperature)
    for flag, value in (("initial", start), ("final", end)):
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"--{flag}-temperature {value:g} must be a positive number")
    if end > start:
        raise UsageError(
            f"--final-temperature {end:g} is above --initial-temperature {start:g}: "
            "the temperature may only fall"
        )
    cooldown = int(config.cooldown_steps)
    if cooldown < 0:
        raise UsageError(f"--cooldown-steps {cooldown} must not be negative")
    freeze_after = cooldown if config.freeze_heads_after is None else int(config.freeze_heads_after)
    if freeze_after < 0:
        raise UsageError(f"--freeze-heads-after {freeze_after} must not be negative")
    if config.gate_estimator not in ESTIMATORS:
        raise UsageError(
            f"--gate-estimator {config.gate_estimator!r} is not one of {', '.join(ESTIMATORS)}"
        )
    seed = config.gate_seed if config.gate_seed is not None else training_flag(args, "seed")
    return PruningPlan(
        budget=budget,
        estimator=str(config.gate_estimator),
        initial_temperature=start,
        final_temperature=end,
        cooldown_steps=cooldown,
        freeze_after=freeze_after,
        floors=floors,
        seed=1 if seed is None else int(seed),
    )


_HYDRA_GROUP = {
    "seed": "common",
    "fp16": "common",
    "fp16_no_flatten_grads": "common",
    "memory_efficient_fp16": "common",
    "max_update": "optimization",
    "store_ema": "ema",
    "ddp_backend": "distributed_training",
    "distributed_world_size": "distributed_training",
    "find_unused_parameters": "distributed_training",
    "optimizer": "",
    "finetune_from_model": "checkpoint",
}
TRAINING_FLAGS = tuple(_HYDRA_GROUP)
"""The flags that do not belong to the model, but say whether it can be trained."""


def training_flag(args: Any, name: str) -> Any:
    """A flag that does not belong to the model, or None where it is not known.

    fairseq-train hands all flags to the model in one namespace; fairseq-hydra-train only the
    model's own node, whose root holds the others.
    """
    if not isinstance(args, DictConfig):
        return getattr(args, name, None)
    value = OmegaConf.select(args._get_root(), f"{_HYDRA_GROUP[name]}.{name}".lstrip("."))
    return value.get("_name") if isinstance(value, DictConfig) else value


def as_namespace(args: Any) -> Any:
    """A model's arguments as a namespace, with the training flags that we look at."""
    if not isinstance(args, DictConfig):
        return args
    flags = {name: training_flag(args, name) for name in _HYDRA_GROUP}
    own = OmegaConf.to_container(args, resolve=True)
    return Namespace(**{**{k: v for k, v in flags.items() if v is not None}, **own})


def resolve_kept_heads(args: Any) -> None:
    """Replaces the file that ``--kept-heads`` may name by the kept heads that the file names.

    So the configuration that is stored does not depend on another file.

    Raises:
        UsageError: the file is not an exported checkpoint.
    """
    path = Path(args.kept_heads)
    if "=" in args.kept_heads or args.kept_heads == NO_HEADS:
        return
    kept = getattr(model_arguments(load_checkpoint(path)), "kept_heads", None)
    if kept is None:
        raise UsageError(f"--kept-heads {path}: that is not a checkpoint that dsp-export wrote")
    with open_dict(args) if isinstance(args, DictConfig) else nullcontext():
        args.kept_heads = kept


def warn_about_schedule(plan: PruningPlan, layout: HeadLayout, max_update: Any) -> None:
    """Says what will happen where the schedule does not fit into the training."""
    if not max_update or plan.budget in (0, layout.num_heads):
        return
    if plan.cooldown_steps > max_update:
        logger.warning(
            "--cooldown-steps %d is beyond --max-update %d: the temperature will not reach "
            "--final-temperature %g",
            plan.cooldown_steps,
            max_update,
            plan.final_temperature,
        )
    if plan.freeze_after >= max_update:
        logger.warning(
            "--freeze-heads-after %d is not before --max-update %d: the heads will not be frozen "
            "during this training; evaluation uses the top %d heads by importance all the same",
            plan.freeze_after,
            max_update,
            plan.budget,
        )
