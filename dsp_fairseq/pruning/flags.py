"""The flags of head pruning and distillation, and where a model finds those not its own."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models.roberta import RobertaModel
from fairseq.models.transformer import TransformerModel
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from omegaconf import DictConfig, OmegaConf

from ..checkpoints.formats import EMBEDDING_PATHS
from ..errors import PruningError
from ..estimators import ESTIMATORS, Option

PRUNING_MODES = ("joint", "pipelined")
GATE_NOISES = ("gumbel", "logistic")


def _defaults(attribute: str, which: int) -> str:
    """What the estimators take where a flag is not given, as text for its help."""
    values = {name: getattr(cls, attribute) for name, cls in ESTIMATORS.items() if cls.learns}
    known = [f"{name} {pair[which]:g}" for name, pair in values.items() if pair is not None]
    return "default: " + ", ".join(known)


@dataclass
class PruningConfig(FairseqDataclass):
    """Flags of a gated model that say how heads are chosen."""

    # Optional[...] and not "... | None": fairseq's parser generator reads these annotations.
    num_of_heads: Optional[str] = field(
        default=None,
        metadata={
            "help": "K, the number of attention heads to keep, 0..N (required, or --cost-budget); "
            "several, as in 6,12,24, train one model for all these budgets; validation uses the "
            "first"
        },
    )
    head_costs: Optional[str] = field(
        default=None,
        metadata={
            "help": "what a head costs, by kind, as in encoder.self=1,decoder.self=4,"
            "decoder.cross=3, or a file that dsp-measure wrote; with --cost-budget"
        },
    )
    cost_budget: Optional[str] = field(
        default=None,
        metadata={
            "help": "C, what the heads kept may cost together, instead of --num-of-heads: they "
            "never cost more, and no other head could be kept within it; within 0.1 %% of what all "
            "cost, all are kept"
        },
    )
    gate_estimator: str = field(
        default="sigmoid",
        metadata={"help": "how gates are computed from importance (default: sigmoid)"},
    )
    pruning_mode: ChoiceEnum(list(PRUNING_MODES)) = field(  # type: ignore[valid-type]
        default="joint",
        metadata={
            "help": "joint: train weights and importance together; pipelined: from a trained model "
            "(--finetune-from-model), train importance alone until the freeze, then the weights "
            "(default: joint)"
        },
    )
    finetune_updates: Optional[int] = field(
        default=None,
        metadata={"help": "pipelined: updates after the freeze (default: until --max-update)"},
    )
    repair_batches: int = field(
        default=0,
        metadata={
            "help": "pipelined: at the freeze, fit the output projections to what the dense model "
            "gives on N batches of the training data (default: 0, no repair)"
        },
    )
    initial_temperature: Optional[float] = field(
        default=None,
        metadata={"help": f"temperature at the first update ({_defaults('temperatures', 0)})"},
    )
    final_temperature: Optional[float] = field(
        default=None,
        metadata={"help": f"temperature after --cooldown-steps ({_defaults('temperatures', 1)})"},
    )
    gate_noise: ChoiceEnum(list(GATE_NOISES)) = field(  # type: ignore[valid-type]
        default="gumbel",
        metadata={
            "help": "distribution of the noise on importance, for estimators that add noise "
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
            "help": "scale of that noise after --cooldown-steps, linear in between "
            f"({_defaults('noise_scales', 1)})"
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
            "help": "update at which the top K heads become a fixed mask and importance stops "
            "learning (default: --cooldown-steps)"
        },
    )
    gates_after: int = field(
        default=0,
        metadata={
            "help": "updates that train all heads before importance learns; temperature and noise "
            "have their initial values at their end; --cooldown-steps and --freeze-heads-after "
            "count them too (default: 0)"
        },
    )
    keep_at_least: str = field(
        default="",
        metadata={
            "help": "minimum number of kept heads by kind, as in decoder.cross=1,encoder.self=2; "
            "also of every attention sublayer (site=1) or of one (decoder.self.0=1) (default: none)"
        },
    )
    keep_at_most: str = field(
        default="",
        metadata={
            "help": "maximum number of kept heads, named as in --keep-at-least: site=2 keeps masks "
            "even, which engines such as CTranslate2 run faster (default: none)"
        },
    )
    kept_heads: Optional[str] = field(
        default=None,
        metadata={
            "help": "build the model of this exported checkpoint, to train it further; replaces "
            "--num-of-heads"
        },
    )
    gate_seed: Optional[int] = field(
        default=None, metadata={"help": "seed of the noise (default: --seed)"}
    )

    @classmethod
    def from_namespace(cls, args: Any) -> "PruningConfig":
        """Reads the flags off a model's arguments; what is missing has its default."""
        flags: dict[str, Any] = {
            f.name: getattr(args, f.name, f.default) for f in fields(cls) if f.init
        }
        return cls(**flags)

    def updates_before_freeze(self) -> int:
        """The update after which the heads are frozen; 0 where importance does not learn."""
        estimator = ESTIMATORS.get(str(self.gate_estimator))
        if estimator is not None and not estimator.learns:
            return 0
        given = self.freeze_heads_after
        return int(self.cooldown_steps if given is None else given)


@dataclass
class DistillationConfig(FairseqDataclass):
    """Flags of a criterion with a teacher; put it before the dataclass of fairseq's criterion."""

    distill_from: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint of a trained model of the same family and dictionaries, the "
            "teacher, whose distribution of every target token is learned too (default: none)"
        },
    )
    distill_weight: float = field(
        default=0.5,
        metadata={
            "help": "share w of the teacher, 0 to 1: the loss is (1 - w) * loss + "
            "w * T^2 * KL(teacher || model) (default: 0.5)"
        },
    )
    distill_temperature: float = field(
        default=1.0,
        metadata={"help": "temperature T of both distributions there (default: 1.0)"},
    )


DISTILLATION_FLAGS: dict[str, Any] = {
    f.name: f.default for f in fields(DistillationConfig) if f.name != "_name"
}
"""The names and defaults of these flags."""


def options_of_estimators(taken: Iterable[str] = ()) -> dict[str, tuple[Option, list[str]]]:
    """The options of all estimators by name, and which estimators have each.

    Args:
        taken: names of flags that a parser has, beside all that fairseq knows.

    Raises:
        PruningError: an option's flag is another's, or two estimators have an option of one name
            and different defaults.
    """
    names = {*_taken_names(), *taken}
    found: dict[str, tuple[Option, list[str]]] = {}
    for name, estimator in ESTIMATORS.items():
        for option in estimator.options:
            if option.name in names:
                raise PruningError(
                    f"the estimator {name} has an option {option.name}, and {option.flag} is a "
                    "flag of fairseq's already: give the option another name"
                )
            first, owners = found.setdefault(option.name, (option, []))
            if option.default != first.default:
                raise PruningError(
                    f"the estimators {owners[0]} and {name} have an option {option.name} with "
                    "different defaults: give one of them another name"
                )
            owners.append(name)
    return found


def add_pruning_flags(parser: Any) -> None:
    """Adds the flags of :class:`PruningConfig` and those of all estimators to an argparse parser.

    Which estimators there are is asked for here, so that others can be registered before.

    Raises:
        PruningError: as :func:`options_of_estimators`.
    """
    chosen = PruningConfig.__dataclass_fields__["gate_estimator"]
    choices: Any = ChoiceEnum(list(ESTIMATORS))
    added = [("gate_estimator", choices, field(default=chosen.default, metadata=chosen.metadata))]
    taken = (action.dest for action in parser._actions)
    for name, (option, owners) in options_of_estimators(taken).items():
        metadata = {"help": f"{', '.join(owners)}: {option.text}"}
        added.append((name, Optional[float], field(default=option.default, metadata=metadata)))
    flags = make_dataclass("PruningFlags", added, bases=(PruningConfig,))
    gen_parser_from_dataclass(parser, flags())


def _taken_names() -> set[str]:
    """The names of the flags of fairseq and of all in its registries, and of our own."""
    parser = ArgumentParser(conflict_handler="resolve")
    for model in (TransformerModel, RobertaModel):
        model.add_args(parser)
    configs = [f.type for f in fields(FairseqConfig)] + [PruningConfig]
    registries = [registry["dataclass_registry"] for registry in REGISTRIES.values()]
    for registry in (TASK_DATACLASS_REGISTRY, *registries):
        configs += registry.values()
    names = {f.name for config in configs if is_dataclass(config) for f in fields(config)}
    return names | {action.dest for action in parser._actions} | {"arch", "task", *REGISTRIES}


def pruning_flags() -> dict[str, Any]:
    """The names and defaults of all that :func:`add_pruning_flags` adds.

    Raises:
        PruningError: as :func:`options_of_estimators`.
    """
    flags = {f.name: f.default for f in fields(PruningConfig)}
    return flags | {name: o.default for name, (o, _) in options_of_estimators().items()}


_HYDRA_GROUP = {
    "seed": "common",
    "cpu": "common",
    "tpu": "common",
    "amp": "common",
    "fp16": "common",
    "fp16_no_flatten_grads": "common",
    "memory_efficient_fp16": "common",
    "bf16": "common",
    "memory_efficient_bf16": "common",
    "max_update": "optimization",
    "max_epoch": "optimization",
    "update_freq": "optimization",
    "max_tokens": "dataset",
    "batch_size": "dataset",
    "required_batch_size_multiple": "dataset",
    "train_subset": "dataset",
    "update_epoch_batch_itr": "dataset",
    "store_ema": "ema",
    "ddp_backend": "distributed_training",
    "distributed_world_size": "distributed_training",
    "task": "",
    "data": "task",
    "source_lang": "task",
    "target_lang": "task",
    "optimizer": "",
    "criterion": "",
    **dict.fromkeys(DISTILLATION_FLAGS, "criterion"),
    "finetune_from_model": "checkpoint",
    "restore_file": "checkpoint",
    "reset_meters": "checkpoint",
    "reset_optimizer": "checkpoint",
    "save_dir": "checkpoint",
    "best_checkpoint_metric": "checkpoint",
    "maximize_best_checkpoint_metric": "checkpoint",
}
TRAINING_FLAGS = tuple(_HYDRA_GROUP)
"""The flags that do not belong to the model, but say whether it can be trained."""


_ONLY_IN_TRAINING = (
    *("checkpoint_activations", "offload_activations"),
    *EMBEDDING_PATHS,
)
"""Flags of the model that only its training needs: to save memory, and what it starts from."""


def forget_training(args: Namespace) -> None:
    """Takes these flags away: how a model was trained, as in 16 bits, binds nobody who reads it."""
    for flag in (*TRAINING_FLAGS, *_ONLY_IN_TRAINING):
        vars(args).pop(flag, None)


def training_flag(args: Any, name: str) -> Any:
    """A flag that does not belong to the model, or None where it is not known.

    fairseq-train hands all flags to the model in one namespace; fairseq-hydra-train only the
    model's own node, whose root holds the others.
    """
    if not isinstance(args, DictConfig):
        return getattr(args, name, None)
    value = OmegaConf.select(args._get_root(), f"{_HYDRA_GROUP[name]}.{name}".lstrip("."))
    return value.get("_name") if isinstance(value, DictConfig) else value


def expect_unused_parameters(args: Any) -> None:
    """Sets ``--find-unused-parameters``, which only PyTorch's own DDP reads.

    Without it that waits for the gradients of frozen importance and of closed heads, which never
    come. ``args`` is what :func:`training_flag` takes.
    """
    if not isinstance(args, DictConfig):
        args.find_unused_parameters = True
    elif "distributed_training" in args._get_root():
        args._get_root()["distributed_training"].find_unused_parameters = True


def as_namespace(args: Any) -> Any:
    """A model's arguments as a namespace, with the training flags that we look at."""
    if not isinstance(args, DictConfig):
        return args
    flags = {name: training_flag(args, name) for name in _HYDRA_GROUP}
    own: Any = OmegaConf.to_container(args, resolve=True)
    return Namespace(**{**{k: v for k, v in flags.items() if v is not None}, **own})
