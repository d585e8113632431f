"""The head-pruning flags, and where a model finds the flags that are not its own."""

from argparse import Namespace
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import DictConfig, OmegaConf, open_dict

from ..checkpoints.checkpoint import load_checkpoint, model_arguments
from ..errors import PruningError
from ..estimators import ESTIMATORS
from ..heads.layout import NO_HEADS

PRUNING_MODES = ("joint", "pipelined")
GATE_NOISES = ("gumbel", "logistic")


def _defaults(attribute: str, which: int) -> str:
    """What the estimators take where a flag is not given, as text for its help."""
    values = {name: getattr(cls, attribute) for name, cls in ESTIMATORS.items() if cls.learns}
    known = [f"{name} {pair[which]:g}" for name, pair in values.items() if pair is not None]
    return "default: " + ", ".join(known)


@dataclass
class PruningConfig(FairseqDataclass):
    """Flags of the gated transformer that say how heads are chosen."""

    # Optional[...] and not "... | None": fairseq's parser generator reads these annotations.
    num_of_heads: Optional[str] = field(
        default=None,
        metadata={
            "help": "K, how many attention heads the model keeps: 0..N (required); several, as in "
            "6,12,24, train one model for all these budgets, and the first is what validation "
            "uses"
        },
    )
    gate_estimator: ChoiceEnum(list(ESTIMATORS)) = field(  # type: ignore[valid-type]
        default="sigmoid",
        metadata={"help": "how gates are drawn from importance (default: sigmoid)"},
    )
    pruning_mode: ChoiceEnum(list(PRUNING_MODES)) = field(  # type: ignore[valid-type]
        default="joint",
        metadata={
            "help": "joint: weights and importance are trained together; pipelined: importance "
            "alone until the freeze, from a trained model (--finetune-from-model), then the "
            "weights of the heads that are left (default: joint)"
        },
    )
    finetune_updates: Optional[int] = field(
        default=None,
        metadata={
            "help": "pipelined: updates after the freeze, in which the weights are trained "
            "(default: until --max-update)"
        },
    )
    initial_temperature: Optional[float] = field(
        default=None,
        metadata={"help": f"temperature of the first update ({_defaults('temperatures', 0)})"},
    )
    final_temperature: Optional[float] = field(
        default=None,
        metadata={"help": f"temperature from --cooldown-steps on ({_defaults('temperatures', 1)})"},
    )
    gate_noise: ChoiceEnum(list(GATE_NOISES)) = field(  # type: ignore[valid-type]
        default="gumbel",
        metadata={
            "help": "noise that is added to importance where the estimator adds any "
            "(default: gumbel)"
        },
    )
    initial_noise: Optional[float] = field(
        default=None,
        metadata={
            "help": f"scale of that noise at the first update ({_defaults('noise_scales', 0)})"
        },
    )
    final_noise: Optional[float] = field(
        default=None,
        metadata={
            "help": "scale of that noise from --cooldown-steps on, linear in between "
            f"({_defaults('noise_scales', 1)})"
        },
    )
    l0_penalty: Optional[float] = field(
        default=None,
        metadata={
            "help": "hard-concrete: loss per token and expected open head, as Voita et al. have it "
            "(default: a penalty that leads their number to K)"
        },
    )
    concentrator: float = field(
        default=0.0,
        metadata={
            "help": "pass: weight of the expected number of sites with heads left, which empties "
            "whole sites (default: 0)"
        },
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
        flags: dict[str, Any] = {
            f.name: getattr(args, f.name, f.default) for f in fields(cls) if f.init
        }
        return cls(**flags)


_HYDRA_GROUP = {
    "seed": "common",
    "cpu": "common",
    "tpu": "common",
    "amp": "common",
    "fp16": "common",
    "fp16_no_flatten_grads": "common",
    "memory_efficient_fp16": "common",
    "max_update": "optimization",
    "update_epoch_batch_itr": "dataset",
    "store_ema": "ema",
    "ddp_backend": "distributed_training",
    "distributed_world_size": "distributed_training",
    "find_unused_parameters": "distributed_training",
    "optimizer": "",
    "criterion": "",
    "finetune_from_model": "checkpoint",
    "restore_file": "checkpoint",
    "save_dir": "checkpoint",
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
    own: Any = OmegaConf.to_container(args, resolve=True)
    return Namespace(**{**{k: v for k, v in flags.items() if v is not None}, **own})


def resolve_kept_heads(args: Any) -> None:
    """Replaces the file that ``--kept-heads`` may name by the kept heads that the file names.

    So the configuration that is stored does not depend on another file.

    Raises:
        PruningError: the file is not an exported checkpoint.
    """
    path = Path(args.kept_heads)
    if "=" in args.kept_heads or args.kept_heads == NO_HEADS:
        return
    exported = model_arguments(load_checkpoint(path))
    kept = getattr(exported, "kept_heads", None)
    if kept is None:
        raise PruningError(f"--kept-heads {path}: that is not a checkpoint that dsp-export wrote")
    if getattr(args, "num_of_heads", None) not in (None, exported.num_of_heads):
        raise PruningError(
            f"--kept-heads {path} has {exported.num_of_heads} heads: leave out --num-of-heads"
        )
    with open_dict(args) if isinstance(args, DictConfig) else nullcontext():
        args.kept_heads = kept
