"""Word-level distillation: a model also learns what a trained teacher says of every target token.

Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015; Kim and Rush,
*Sequence-Level Knowledge Distillation*, EMNLP 2016. With w the weight and T the temperature, p the
teacher's distribution and q the model's, the loss of a batch is

    (1 - w) * loss + w * T^2 * sum over target tokens of KL(p || q), p and q at temperature T

where ``loss`` is what fairseq's criterion computes, and both are divided by its sample size.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.utils import resolve_max_positions
from torch import Tensor, nn

from ..checkpoints.checkpoint import Checkpoint, load_checkpoint
from ..data.dataspec import DataSpec, config_of, refuse_other_data, refuse_other_symbols
from ..errors import CommandExit, PruningError, one_line
from ..heads.family import architecture
from .flags import DISTILLATION_FLAGS, forget_training, training_flag

logger = logging.getLogger(__name__)

_AT_ONCE = {"cpu": 1 << 16}
"""How many probabilities are looked at together: on a CPU so few that its cache holds them."""


# ---- flags


@dataclass(frozen=True)
class DistillationPlan:
    """The flags after parsing: the teacher's file, its weight and the temperature."""

    teacher: Path
    weight: float
    temperature: float


def plan_distillation(args: Any) -> DistillationPlan | None:
    """Parses and checks the flags; None where there is no teacher.

    Args:
        args: the model's arguments, with the flags of the training.

    Raises:
        PruningError: a value that cannot be used, or one without a teacher.
    """
    given = {name: training_flag(args, name) for name in DISTILLATION_FLAGS}
    values = {n: d if given[n] is None else given[n] for n, d in DISTILLATION_FLAGS.items()}
    path, weight, temperature = values.values()
    for name in DISTILLATION_FLAGS:
        if path is None and values[name] != DISTILLATION_FLAGS[name]:
            raise PruningError(
                f"--{name.replace('_', '-')} belongs to --distill-from, the teacher's checkpoint"
            )
    if path is None:
        return None
    if not 0 <= weight <= 1:
        raise PruningError(f"--distill-weight {weight:g} must be from 0 to 1")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise PruningError(f"--distill-temperature {temperature:g} must be a positive number")
    return DistillationPlan(Path(path), float(weight), float(temperature))


# ---- the loss


class Distillation:
    """A teacher at work: frozen, in evaluation, without gradients.

    It is no module, so neither the model nor its criterion, optimizer or checkpoint has its
    weights. Device and precision are those of the model's output.

    Args:
        teacher: called as the model is; the first of what it returns are logits.
        weight: its share of the loss.
        temperature: of both distributions.
    """

    def __init__(self, teacher: nn.Module, weight: float, temperature: float) -> None:
        # Frozen by torch.no_grad alone: PyTorch makes a batched product, twice as slow, of a linear
        # layer whose weights ask for no gradient.
        self.teacher = teacher.eval()
        self.weight = weight
        self.temperature = temperature
        self._call: tuple[tuple[Any, ...], dict[str, Any], Any] | None = None

    @contextmanager
    def listening(self, model: nn.Module) -> Iterator[None]:
        """Inside, notes what the model is asked and answers: one forward pass for both losses."""

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            self._call = args, kwargs, out

        hook = model.register_forward_hook(note, with_kwargs=True)
        try:
            yield
        except BaseException:
            # fairseq goes on after it ran out of memory, and the graph of that batch is large.
            self._call = None
            raise
        finally:
            hook.remove()

    def divergence(self, left_out: Tensor | None) -> Tensor:
        """KL(teacher || model) of the call that was noted, ``[]`` in nats, summed over tokens.

        Args:
            left_out: true ``[B, T]`` at padding; None where all count. A model that answers for
                some tokens only, as one of masked tokens does, answers for those that count.
        """
        if self._call is None:
            raise RuntimeError("the model was not called")
        (args, kwargs, output), self._call = self._call, None
        logits = _logits(output)
        with torch.no_grad():
            self._follow(logits)
            taught = _logits(self.teacher(*args, **kwargs))
        rows = _Divergence.apply(
            logits.flatten(0, -2), taught.flatten(0, -2).contiguous(), self.temperature
        )
        if left_out is not None and rows.numel() == left_out.numel():
            rows = rows.masked_fill(left_out.flatten(), 0.0)
        return rows.sum()

    def mix(self, loss: Tensor, divergence: Tensor) -> Tensor:
        """The loss of the batch: see the formula above."""
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * divergence

    def _follow(self, logits: Tensor) -> None:
        first = next(p for p in self.teacher.parameters() if p.is_floating_point())
        if (first.device, first.dtype) != (logits.device, logits.dtype):
            self.teacher.to(device=logits.device, dtype=logits.dtype)


def _logits(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


class _Divergence(torch.autograd.Function):
    """KL(teacher || model) ``[n]`` from logits ``[n, V]`` of both, by rows, in float32.

    The derivative, q - p over T, takes the place of the teacher's logits, so nothing else of this
    size is kept; it can be asked for once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
        rows = max(1, _AT_ONCE.get(logits.device.type, 1 << 24) // logits.size(-1))
        parts = []
        for student, teacher in zip(logits.split(rows), taught.split(rows), strict=True):
            x, y = _over(student, temperature), _over(teacher, temperature)
            q, p = x.softmax(-1), y.softmax(-1)
            # Of log p - log q = (y - x) - (log sum exp y - log sum exp x) only the first part is
            # different for every symbol.
            shift = _log_sum_exp(y, p) - _log_sum_exp(x, q)
            parts.append(torch.linalg.vecdot(p, y - x) - shift)
            teacher.copy_(q.sub_(p))
        ctx.temperature = temperature
        ctx.save_for_backward(taught)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_((slope / ctx.temperature).unsqueeze(-1)), None, None


def _over(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits / temperature


def _log_sum_exp(logits: Tensor, probabilities: Tensor) -> Tensor:
    return logits.amax(-1) - probabilities.amax(-1).log()


# ---- the teacher


def load_distillation(args: Any, model: Any, task: Any) -> Distillation | None:
    """The teacher that the flags of a training name; None where they name none.

    Args:
        args: the model's arguments, with the flags of the training.
        model: the one that learns.
        task: fairseq's task of this training.

    Raises:
        PruningError: a flag or the teacher's file cannot be used.
    """
    plan = plan_distillation(args)
    if plan is None:
        return None
    try:
        checkpoint = load_checkpoint(plan.teacher)
        _check_data(checkpoint, task)
        teacher = _build(checkpoint, model, task)
    except PruningError as error:
        raise PruningError(f"--distill-from: {error.message}") from None
    logger.info(
        "distillation from %s (%s), weight %g, temperature %g",
        plan.teacher,
        architecture(checkpoint.args),
        plan.weight,
        plan.temperature,
    )
    return Distillation(teacher, plan.weight, plan.temperature)


def _build(checkpoint: Checkpoint, model: Any, task: Any) -> Any:
    """The checkpoint's model.

    Raises:
        PruningError: it is of another family than the model, or has other dictionaries.
    """
    path, args = checkpoint.path, checkpoint.args
    if checkpoint.family is not model.family:
        raise PruningError(
            f"{path} is of a {architecture(args)}, which is not of the family {model.family.name}"
        )
    forget_training(args)
    try:
        # Nobody's random numbers depend on whether there is a teacher.
        with torch.random.fork_rng(devices=[]):
            # The task, since it adds the classification head of a classifier; a copy, since with
            # --eval-bleu it translates with the model that it built last.
            teacher = copy.copy(task).build_model(args)
        teacher.load_state_dict(checkpoint.weights, model_cfg=args)
    except (Exception, CommandExit) as error:  # a stranger's arguments fail in any way
        raise PruningError(
            f"the weights of {path} do not fit the dictionaries of this training, or its own "
            f"configuration: {one_line(error)}"
        ) from None
    longest = model.max_positions()
    if resolve_max_positions(longest, teacher.max_positions()) != longest:
        raise PruningError(
            f"{path} reads sentences of {teacher.max_positions()} tokens, and this model of "
            f"{longest}: give it the same --max-source-positions and --max-target-positions"
        )
    return teacher


def _check_data(checkpoint: Checkpoint, task: Any) -> None:
    """Languages and dictionaries, as far as the checkpoint and its data say them.

    Raises:
        PruningError: they are not those of this training.
    """
    refuse_other_data(checkpoint.data_state, task)
    theirs, ours = checkpoint.config("task"), config_of(task)
    spoken, here = DataSpec.of(theirs).flags, DataSpec.of(ours).flags
    for side in ("source_lang", "target_lang"):
        if None not in (spoken.get(side), here.get(side)) and spoken[side] != here[side]:
            raise PruningError(
                f"{checkpoint.path} has --{side.replace('_', '-')} {spoken[side]}, and this "
                f"training {here[side]}"
            )
    refuse_other_symbols(checkpoint.path, theirs, task)
