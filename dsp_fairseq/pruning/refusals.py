"""What head pruning cannot do, refused by the name of the flag that asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from fairseq.criterions import CRITERION_REGISTRY

from ..data.dataspec import own_task
from ..errors import PruningError, exits_in_one_line
from ..heads.family import Family, model_name
from .criterion import GateCriterionMixin
from .flags import expect_unused_parameters, training_flag

_UNSUPPORTED: tuple[tuple[str, str], ...] = (
    ("quant_noise_pq", "--quant-noise-pq"),
    ("quant_noise_scalar", "--quant-noise-scalar"),
    ("encoder_xformers_att_config", "--encoder-xformers-att-config"),
    ("decoder_xformers_att_config", "--decoder-xformers-att-config"),
    ("cross_self_attention", "--cross-self-attention"),
    ("encoder_layers_to_keep", "--encoder-layers-to-keep"),
    ("decoder_layers_to_keep", "--decoder-layers-to-keep"),
    ("base_layers", "--base-layers"),
    ("store_ema", "--store-ema"),
)

_HIGHER_IS_BETTER = {"accuracy": True, "bleu": True} | dict.fromkeys(
    ("loss", "nll_loss", "ppl"), False
)
"""By the name of a metric; of others it is not known."""


def refuse_unsupported(args: Any, family: Family) -> None:
    """Refuses what head pruning cannot do, by the name of its flag.

    Raises:
        PruningError: the first such flag that is set.
    """
    for name, flag in _UNSUPPORTED:
        if getattr(args, name, None):
            raise PruningError(f"{flag} is not supported by {family.name}")
    optimizer = getattr(args, "optimizer", None)
    exported = getattr(args, "kept_heads", None) is not None
    if optimizer not in (None, "dsp_adam") and not exported:
        raise PruningError(
            f"--optimizer {optimizer} would train importance at the model's learning rate: "
            "use --optimizer dsp_adam"
        )
    flattens = getattr(args, "fp16", False) and not (
        getattr(args, "fp16_no_flatten_grads", False)
        or getattr(args, "memory_efficient_fp16", False)
    )
    if flattens:
        raise PruningError(
            "--fp16 merges all parameters into one, importance too: add --fp16-no-flatten-grads"
        )
    refuse_sharding(args)


def refuse_training(args: Any, family: Family) -> None:
    """Refuses what a training cannot do, or this machine, by the name of its flag.

    Raises:
        PruningError: the first such flag that is set.
    """
    refuse_other_criterion(args, family)
    if getattr(args, "adaptive_softmax_cutoff", None):
        raise PruningError(
            "--adaptive-softmax-cutoff is trained by fairseq's adaptive_loss only, which knows no "
            "gates: leave it out"
        )
    if training_flag(args, "tpu"):
        raise PruningError(
            "--bf16 and --memory-efficient-bf16 of fairseq-train mean a TPU, which head pruning "
            "does not support: on a GPU use fairseq-hydra-train with common.bf16=true"
        )
    if getattr(args, "checkpoint_activations", False) and args.pruning_mode == "pipelined":
        raise PruningError(
            "--checkpoint-activations computes layers again for the gradient of their weights, "
            "which --pruning-mode pipelined does not train until the freeze: leave it out"
        )
    without_gpu = training_flag(args, "cpu") or not torch.cuda.is_available()
    for flag in ("fp16", "amp"):
        if training_flag(args, flag) and without_gpu:
            raise PruningError(f"--{flag} needs a GPU: leave it out to train on a CPU")
    copies = any(
        training_flag(args, flag) and not training_flag(args, f"memory_efficient_{flag}")
        for flag in ("fp16", "bf16")
    )
    if copies and getattr(args, "repair_batches", None):
        raise PruningError(
            "--repair-batches changes the weights, of which fairseq's optimizer for 16 bits has "
            "copies: leave it out, or use --memory-efficient-fp16 or --amp"
        )
    backend, processes = (
        training_flag(args, name) for name in ("ddp_backend", "distributed_world_size")
    )
    if without_gpu and backend in ("c10d", "pytorch_ddp") and (processes or 1) > 1:
        raise PruningError(
            f"fairseq's --ddp-backend {backend} needs GPUs: on CPUs use --ddp-backend legacy_ddp"
        )
    refuse_worst_checkpoint(args)


def refuse_other_criterion(args: Any, family: Family) -> None:
    """Refuses a criterion that knows nothing of gates, and with ours a task that checks nothing.

    Raises:
        PruningError: it is no :class:`GateCriterionMixin`, and the model has all its heads; or it
            is, and this package has a task of its own for that of fairseq.
    """
    criterion = training_flag(args, "criterion")
    known = CRITERION_REGISTRY.get(criterion, GateCriterionMixin)
    exported = getattr(args, "kept_heads", None) is not None
    if not (exported or issubclass(known, GateCriterionMixin)):
        raise PruningError(
            f"--criterion {criterion} would leave out the penalties of the gates and the checks "
            f"of the loss: use --criterion {family.gated_criterion}"
        )
    task = training_flag(args, "task")
    own = task and own_task(task)
    if issubclass(known, GateCriterionMixin) and own != task:
        raise PruningError(
            f"--task {task} would not keep in checkpoints what their data was: use --task {own}"
        )


def _refuse_no_batch_size(args: Any) -> None:
    if getattr(args, "max_tokens", 0) is None and getattr(args, "batch_size", 0) is None:
        raise PruningError("say how large a batch is, by --max-tokens or --batch-size")


def refuse_worst_checkpoint(args: Any) -> None:
    """Refuses a training that would keep its worst checkpoint as the best.

    Raises:
        PruningError: the highest of a loss, or the lowest of a score.
    """
    metric, maximize = (
        training_flag(args, name)
        for name in ("best_checkpoint_metric", "maximize_best_checkpoint_metric")
    )
    if _HIGHER_IS_BETTER.get(metric, maximize) != maximize:
        raise PruningError(
            f"--best-checkpoint-metric {metric} would keep the worst checkpoint: "
            f"{'leave out' if maximize else 'add'} --maximize-best-checkpoint-metric"
        )


def refuse_sharding(args: Any) -> None:
    """Refuses parameters that are spread over processes.

    Raises:
        PruningError: ``--ddp-backend fully_sharded``.
    """
    if getattr(args, "ddp_backend", None) == "fully_sharded":
        raise PruningError(f"--ddp-backend fully_sharded is not supported by {model_name(args)}")


def checked_when_parsed(
    fill_in: Callable[[Any], None], check: Callable[[Any], None]
) -> Callable[[Any], None]:
    """An architecture that looks at the flags of a training before it fills in what they lack.

    fairseq-train enters its sharding and opens its data before it builds the model, and its own
    errors are tracebacks; when it has parsed the flags it calls the architecture.

    Args:
        fill_in: the architecture.
        check: looks at the flags of a training, and at its data.
    """

    @wraps(fill_in)
    @exits_in_one_line
    def fill_in_and_check(args: Any) -> None:
        refuse_sharding(args)
        # Afterwards they are a configuration with a name, in other commands too.
        if not hasattr(args, "_name"):
            expect_unused_parameters(args)
            _refuse_no_batch_size(args)
            check(args)
        fill_in(args)

    return fill_in_and_check
