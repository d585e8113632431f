"""Adam with a learning rate of its own for importance."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.optim import register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from fairseq.utils import clip_grad_norm_
from torch import Tensor, nn

from ..errors import PruningError, exits_in_one_line


@dataclass
class DspAdamConfig(FairseqAdamConfig):
    """Adam's flags and those of the importance group."""

    pruning_lr: float = field(
        default=0.2,
        metadata={"help": "constant learning rate of head importance (default: 0.2)"},
    )
    pruning_clip_norm: float = field(
        default=1.0,
        metadata={
            "help": "clip the gradient norm of importance by this, apart from --clip-norm; "
            "0 does not clip (default: 1.0)"
        },
    )


@register_optimizer("dsp_adam", dataclass=DspAdamConfig)
class DspAdam(FairseqAdam):
    """fairseq's Adam with two parameter groups: weights, and importance.

    Importance has a constant learning rate that no scheduler touches, no weight decay, and a
    gradient norm clipped by itself. Once frozen it does not move at all, not even by momentum.
    """

    # fairseq's --amp undoes the scale of the loss in ``clip_grad_norm``; without this PyTorch's
    # scaler, which is handed another object then, would undo it again before :meth:`step`.
    _step_supports_amp_scaling = True

    @exits_in_one_line
    def __init__(self, cfg: DspAdamConfig, params: Iterable[nn.Parameter]) -> None:
        if cfg.pruning_lr < 0 or cfg.pruning_clip_norm < 0:
            raise PruningError("--pruning-lr and --pruning-clip-norm must not be negative")
        if not (math.isfinite(cfg.pruning_lr) and math.isfinite(cfg.pruning_clip_norm)):
            raise PruningError("--pruning-lr and --pruning-clip-norm must be finite numbers")
        params = list(params)
        self._importance = [p for p in params if _is_importance(p)]
        weights = [p for p in params if not _is_importance(p)]
        groups = [{"params": weights}]
        if self._importance:
            groups.append({"params": self._importance})
        super().__init__(cfg, groups)
        self._set_importance_group()

    def set_lr(self, lr: float) -> None:
        """Sets the learning rate of the weights only."""
        super().set_lr(lr)
        self._set_importance_group()

    def load_state_dict(
        self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None
    ) -> None:
        super().load_state_dict(state_dict, optimizer_overrides)
        self._set_importance_group()

    @exits_in_one_line
    def clip_grad_norm(
        self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Clips the weights by ``max_norm``; importance is clipped by :meth:`step`.

        Returns:
            the gradient norm of the weights, or that of importance where it is not finite, so
            that the scaler of 16-bit gradients sees it.

        Raises:
            NotFiniteError: a gradient, the loss or importance is not finite, and there is no
                scaler whose business that is.
        """
        self._drop_held_gradients()
        weights = clip_grad_norm_(self.param_groups[0]["params"], max_norm, aggregate_norm_fn)
        importance = None
        if any(p.grad is not None for p in self._importance):
            importance = clip_grad_norm_(self._importance, 0.0, aggregate_norm_fn)
            importance = importance.to(weights.device)
        for parameter in self._importance:
            _state(parameter).judge(
                the_gradient_of_weights=weights,
                the_gradient_of_importance=importance,
                importance=parameter.detach(),
            )
        if importance is None:
            return weights
        return torch.where(torch.isfinite(importance), weights, importance)

    def step(self, closure: Any = None, scale: float = 1.0, groups: Any = None) -> None:
        """Clips importance by ``--pruning-clip-norm`` and steps.

        The clipping is done here since 16-bit optimizers undo the scale of the loss after
        ``clip_grad_norm`` only. With ``--amp`` nothing is done where gradients overflowed, as
        PyTorch's scaler notes in ``found_inf``.
        """
        if bool(getattr(self, "found_inf", False)):
            return
        self._drop_held_gradients()
        if scale != 1.0:
            self.multiply_grads(1.0 / scale)
        clip_grad_norm_(self._importance, self.cfg.pruning_clip_norm)
        # A freeze happens between two calls of set_lr.
        self._set_importance_group()
        super().step(closure, groups=groups)

    def _drop_held_gradients(self) -> None:
        """While importance is trained alone, the weights have no gradient, and while it does not
        learn, importance has none.

        Some wrappers of several processes make zeros of that, which Adam would count as steps.
        """
        if any(_state(p).alone for p in self._importance):
            for parameter in self.param_groups[0]["params"]:
                parameter.grad = None
        for parameter in self._importance:
            if not _state(parameter).learns:
                parameter.grad = None

    def _set_importance_group(self) -> None:
        for group in self.param_groups[1:]:
            learns = all(_state(p).learns for p in group["params"])
            group["lr"] = float(self.cfg.pruning_lr) if learns else 0.0
            group["weight_decay"] = 0.0


# ---- what the optimizer knows of a parameter


def _never(**named: Tensor) -> None:
    """Judges nothing; a function has a name, so that models can be pickled."""


@dataclass
class ImportanceState:
    """What a model tells the optimizer about its importance.

    Attributes:
        learns: whether it does now.
        alone: whether the weights stay as they are meanwhile.
        judge: ends the training where one of its named values is not finite.
    """

    learns: bool = True
    alone: bool = False
    judge: Callable[..., None] = _never


def mark_importance(parameter: nn.Parameter) -> ImportanceState:
    """Tells :class:`DspAdam` that a parameter is importance; returns what tells it the rest.

    The optimizer sees parameters only. Of their attributes fairseq's 16-bit optimizers hand
    ``param_group`` and ``optim_overrides`` on to their float32 copies; the state is shared.
    """
    # fairseq's names, of which nn.Parameter knows nothing.
    parameter.param_group = "importance"  # type: ignore[attr-defined]
    state = ImportanceState()
    parameter.optim_overrides = state  # type: ignore[attr-defined]
    return state


def _state(parameter: nn.Parameter) -> ImportanceState:
    return parameter.optim_overrides  # type: ignore[attr-defined]


def _is_importance(parameter: nn.Parameter) -> bool:
    return getattr(parameter, "param_group", None) == "importance"
