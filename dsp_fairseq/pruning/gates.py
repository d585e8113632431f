"""``HeadGates``: importance, how gates are drawn from it, and when that ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.formats import FORMAT, trained_budgets
from ..estimators import (
    Budget,
    CostBudget,
    border_margin,
    choose,
    gumbel_noise,
    kept_mask,
    leaves_no_choice,
    linear,
    log_linear,
    logistic_from_gumbel,
)
from ..heads.budget import check_cost, check_learned, check_trained
from ..heads.layout import HeadLayout
from .optimizer import mark_importance
from .plan import PruningPlan

logger = logging.getLogger(__name__)

_BEFORE_TRAINING = -1

NEGLIGIBLE_GATE = 1e-12
"""Gates below this count as closed: their products would be denormal numbers, on which a CPU
spends half of its time."""


class _InParts(torch.autograd.Function):
    """A function of importance whose graph may be walked again and again.

    ``--checkpoint-activations`` goes back through each layer alone, and so to the gates several
    times.
    """

    @staticmethod
    def forward(ctx: Any, importance: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.importance = importance.detach().requires_grad_()
        with torch.enable_grad():
            ctx.gates = draw(ctx.importance)
        return ctx.gates.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if not ctx.gates.requires_grad:  # no head, or all of them
            return None, None
        (own,) = torch.autograd.grad(ctx.gates, ctx.importance, gradient, retain_graph=True)
        return own, None


class FixedHeads(nn.Module):
    """The gates of an exported model: its heads are removed, nothing is left to choose.

    It answers as a frozen :class:`HeadGates` does. In the state dict it has ``format`` only.

    Args:
        layout: the heads the model had before its export.
        mask: 0/1 ``[N]``, the heads that are left.
    """

    is_sampling = False
    holds_weights = False

    def __init__(self, layout: HeadLayout, mask: Tensor) -> None:
        super().__init__()
        self.layout = layout
        self._mask = mask
        self.register_buffer("format", torch.tensor(float(FORMAT)))

    def open_mask(self) -> Tensor:
        """The heads that are left, as a 0/1 mask ``[N]``."""
        return self._mask

    def begin_forward(self) -> bool:
        """Nothing to freeze."""
        return False

    def penalty(self) -> Tensor | None:
        """Nothing to add to the loss."""
        return None

    def after_load(self) -> None:
        """Nothing to bring in line."""

    def statistics(self) -> dict[str, Tensor]:
        """Heads kept per kind of site, for the log."""
        return _kept_per_kind(self.layout, self._mask)


class HeadGates(nn.Module):
    """One gate per head, drawn from learned importance under a hard budget of K heads.

    The state is in tensors of the state dict, in float32 so that averaging tools may handle it:

    - ``importance`` ``[N]``, a parameter: log-weights of the heads.
    - ``mask`` ``[N]``: the top-K set of the last training update; final once frozen.
    - ``frozen`` ``[]``: 1 once the mask is final.
    - ``last_change`` ``[]``: the number of updates completed when the top-K set last changed.
    - ``budgets`` ``[N+1]``: 1 at each K that was trained; of a budget in cost, at the number of
      heads that it keeps, which is that of the start until the freeze.
    - ``format`` ``[]``: the number of this format, :data:`~dsp_fairseq.checkpoints.formats.FORMAT`.

    With K = 0 or K = N nothing is drawn and importance gets no gradient.

    Of several budgets each update takes one. Their sets are nested, as the top K of one importance;
    what is frozen is its order, and ``mask`` is that of the first budget, which evaluation uses.

    Args:
        layout: the model's heads.
        plan: budgets, estimator, schedule and seed.
    """

    importance: nn.Parameter
    mask: Tensor
    frozen: Tensor
    last_change: Tensor
    budgets: Tensor

    def __init__(self, layout: HeadLayout, plan: PruningPlan) -> None:
        super().__init__()
        self.layout = layout
        self.plan = plan
        n = layout.num_heads
        initial = plan.estimator.initial_importance(gumbel_noise(n, plan.seed, _BEFORE_TRAINING))
        self.importance = nn.Parameter(initial.to(torch.float32))
        self.optimizer_state = mark_importance(self.importance)
        self.register_buffer("mask", torch.zeros(n))
        self.register_buffer("frozen", torch.tensor(0.0))
        self.register_buffer("last_change", torch.tensor(0.0))
        self.register_buffer("budgets", torch.zeros(n + 1))
        self.register_buffer("format", torch.tensor(float(FORMAT)))
        self.num_updates = 0
        self._is_frozen = False
        self._gates: Tensor | None = None
        self.note_budgets()

    # ---- state

    @property
    def is_frozen(self) -> bool:
        """Whether the mask is final (a plain bool: reading ``frozen`` would wait for the GPU)."""
        return self._is_frozen

    @property
    def is_constant(self) -> bool:
        """Whether the budgets leave no choice: K = 0 or K = N."""
        return all(leaves_no_choice(b, self.layout.num_heads) for b in self.plan.budgets)

    @property
    def is_sampling(self) -> bool:
        """Whether training scales heads by gates, so that all of them take part."""
        return not (self.is_frozen or self.is_constant)

    @property
    def is_waiting(self) -> bool:
        """Whether all heads are still trained alike, before importance starts to learn."""
        return self.is_sampling and self.num_updates < self.plan.gates_after

    @property
    def holds_weights(self) -> bool:
        """Whether importance is trained alone, with the weights as they are."""
        return self.plan.pipelined and self.is_sampling

    @property
    def update_budget(self) -> Budget:
        """The K of the current update: of several budgets each update draws one."""
        budgets = self.plan.budgets
        if self.holds_weights:
            # Importance, trained alone, learns nothing where there is no choice.
            budgets = tuple(b for b in budgets if not leaves_no_choice(b, self.layout.num_heads))
        return budgets[choose(len(budgets), self.plan.seed, self.num_updates)]

    @property
    def temperature(self) -> float:
        """The temperature at the current update; a pure function of its number."""
        return log_linear(*self._cooling(self.plan.temperatures))

    def _cooling(self, ends: tuple[float, float]) -> tuple[int, float, float, int]:
        """The updates since gates are drawn, from what to what, and in how many."""
        start = self.plan.gates_after
        return self.num_updates - start, *ends, self.plan.cooldown_steps - start

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> HeadGates:
        """Moves between devices, but stays in float32: half precision would make ties."""

        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(keep_precision, recurse)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq's hook: the number of completed updates, once per micro-batch.

        Nothing else happens here, since the hook is also called before a checkpoint is loaded,
        with the update number of that checkpoint.
        """
        self.num_updates = num_updates

    def open_mask(self) -> Tensor:
        """The hard 0/1 mask ``[N]``, without noise: exactly K ones, or what a cost pays for.

        K is the first budget in evaluation, and in training that of the current update.

        Raises:
            PruningError: in evaluation, of a checkpoint that was trained with all its heads.
        """
        budget = self.update_budget if self.training else self.plan.budget
        self._check_learned(budget)
        if self.is_frozen and budget == self.plan.budget:
            return self.mask
        return self._kept(budget)

    def reachable_mask(self) -> Tensor:
        """The 0/1 mask ``[N]`` of the heads that some budget opens: the sets are nested."""
        counts = [budget for budget in self.plan.budgets if isinstance(budget, int)]
        largest = max(counts, default=self.plan.budget)
        frozen = self.is_frozen and largest == self.plan.budget
        return self.mask if frozen else self._kept(largest)

    # ---- training

    def begin_forward(self) -> bool:
        """Called before each training forward pass; returns whether other heads may be open now."""
        several = len(self.plan.budgets) > 1
        if self.is_frozen:
            return several
        top = self._kept(self.plan.budget)
        # Compared on the device: asking for the answer here would stall a GPU at every update.
        changed = (top != self.mask).any()
        now = torch.full_like(self.last_change, float(self.num_updates))
        self.last_change.copy_(torch.where(changed, now, self.last_change))
        self.mask.copy_(top)
        if self.num_updates < self.plan.freeze_after or self.is_constant:
            self.optimizer_state.learns = not self.is_waiting
            self.optimizer_state.alone = self.holds_weights
            return several and self.is_constant
        self._freeze()
        return True

    def forward(self) -> Tensor:
        """This update's gates ``[N]`` in float32, which carry gradient to importance.

        They are all 1 before importance learns, and then sum to K where the estimator is exact.
        The noise depends on (seed, update) only, so all micro-batches and all processes of an
        update see the same gates.
        """
        if self.is_waiting:
            self._gates = torch.ones_like(self.importance.detach())
            return self._gates
        noise = self._noise().to(self.importance.device)
        gates = _InParts.apply(
            self.importance,
            lambda own: self.plan.estimator(own, self.update_budget, self.temperature, noise),
        ).to(torch.float32)
        # A shift and no selection, so that the gradient passes unchanged.
        values = gates.detach()
        gates = gates - values.masked_fill(values >= NEGLIGIBLE_GATE, 0.0)
        self._gates = gates.detach()
        return gates

    def _noise(self) -> Tensor:
        plan = self.plan
        noise = gumbel_noise(self.layout.num_heads, plan.seed, self.num_updates)
        if plan.noise == "logistic":
            noise = logistic_from_gumbel(noise)
        return noise * linear(*self._cooling(plan.noise_scales))

    def penalty(self) -> Tensor | None:
        """What the estimator adds to the loss per token; None where its budget is exact."""
        if not self.is_sampling or self.is_waiting:
            return None
        start = self.plan.gates_after
        progress = (self.num_updates - start) / max(self.plan.freeze_after - start, 1)
        return self.plan.estimator.penalty(
            self.importance, self.update_budget, self.temperature, progress
        )

    def _freeze(self) -> None:
        self._set_frozen(True)
        self.note_budgets()
        kept, budget = self.layout.kept(self.mask), self.plan.budget
        sizes = " and ".join(map(str, self.plan.budgets))
        if isinstance(budget, CostBudget):
            cost = float(budget.cost_of(self.mask))
            sizes = f"{int(self.mask.sum())} (of cost {cost:g}, at most {float(budget.limit):g})"
        logger.info(
            "froze %s of %d heads at update %d (that set last changed at update %d): %s",
            sizes,
            self.layout.num_heads,
            self.num_updates,
            int(self.last_change),
            "; ".join(f"{site} keeps {heads}" for site, heads in kept.items() if heads),
        )

    def warn_unless_frozen(self) -> None:
        """For the end of a training, whether epochs, hours, patience or updates ended it."""
        if self.is_sampling:
            logger.warning(
                "this training ended after %d updates, and its heads are frozen after %d: they are "
                "not frozen; its checkpoints keep the %s so far",
                # fairseq tells it before each update, and not after the last.
                self.num_updates + 1,
                self.plan.freeze_after,
                self.plan.top(),
            )

    def _set_frozen(self, frozen: bool) -> None:
        self._is_frozen = frozen
        self.frozen.fill_(float(frozen))
        # Momentum must not move it on.
        self.optimizer_state.learns = not frozen
        self.optimizer_state.alone = self.holds_weights

    def _kept(self, budget: Budget) -> Tensor:
        return kept_mask(self.importance, budget, self.plan.limits)

    # ---- checkpoints

    def adopt(self, importance: Tensor) -> None:
        """Takes importance ``[N]`` that was found otherwise than by training, and freezes its top
        K heads."""
        with torch.no_grad():
            self.importance.copy_(importance)
        self.mask.copy_(self._kept(self.plan.budget))
        self._set_frozen(True)
        self.note_budgets()

    def after_load(self) -> None:
        """Brings the flags in line with the tensors that were just loaded.

        Raises:
            PruningError: the checkpoint is frozen, and was trained for other budgets.
        """
        self._set_frozen(bool(self.frozen))
        if self.is_frozen:
            self._check_frozen()
            return
        if self.is_sampling:
            logger.info(
                "the heads of this checkpoint are not frozen: evaluation uses the %s",
                self.plan.top(),
            )

    def _check_learned(self, budget: Budget) -> None:
        """A training may go on from all heads to some of them, since it learns which."""
        n = self.layout.num_heads
        if not (self.training or leaves_no_choice(budget, n)):
            check_learned(trained_budgets(self.budgets), n, "the checkpoint")

    def begin_training(self) -> None:
        """Called once, before the first update; notes the budgets of this training.

        Raises:
            PruningError: heads would be frozen at once, and no order of them was learned.
        """
        plan = self.plan
        late = plan.estimator.learns and self.num_updates >= plan.freeze_after
        if late and not (self.is_frozen or self.is_constant):
            way = (
                f"the freeze is after {plan.freeze_after} updates, and it has {self.num_updates}: "
                "start from it by --finetune-from-model, in another --save-dir"
            )
            trained = trained_budgets(self.budgets)
            check_learned(trained, self.layout.num_heads, "the checkpoint", way)
        if self.is_frozen and self.num_updates < plan.freeze_after:
            self._warn_of_idle_flags()
        self.note_budgets()

    def _warn_of_idle_flags(self) -> None:
        """Of a start whose heads are frozen, as those of a ranking."""
        kept = self.mask.nonzero().flatten().tolist()
        acts = {
            "--pruning-mode pipelined": self.plan.pipelined,
            "--gates-after": self.plan.gates_after,
            "--finetune-updates": self.plan.finetune_updates,
            "--repair-batches": self.plan.repair_batches,
            "--keep-at-least and --keep-at-most": not self.plan.limits.hold(kept),
        }
        if idle := [flag for flag, given in acts.items() if given]:
            logger.warning(
                "the heads that this training starts with are frozen already: %s change%s nothing",
                ", ".join(idle),
                "s" if len(idle) == 1 else "",
            )

    def _check_frozen(self) -> None:
        budget = self.plan.budget
        if isinstance(budget, CostBudget):
            check_cost(self.mask, self._kept(budget), budget)
            return
        counts = [b for b in self.plan.budgets if isinstance(b, int)]
        check_trained(counts, trained_budgets(self.budgets), "the checkpoint")
        if int(self.mask.sum()) != budget:
            self.mask.copy_(self._kept(budget))

    def note_budgets(self) -> None:
        trained = [
            int((self.mask if self.is_frozen else self._kept(b)).sum())
            if isinstance(b, CostBudget)
            else b
            for b in self.plan.budgets
        ]
        self.budgets.zero_()
        self.budgets[trained] = 1.0

    # ---- what a person wants to watch

    def statistics(self) -> dict[str, Tensor]:
        """Scalars for the log: temperature, gates, margin, heads kept per kind of site, frozen.

        ``margin`` is of the first of several budgets, ``margin_K`` of each of the others.
        """
        mask = self.open_mask()
        drawn = self._gates if self.training and self.is_sampling else None
        gates = mask if drawn is None else drawn
        budget, *others = self.plan.budgets
        importance = self.importance.detach()
        cost = {}
        if isinstance(budget, CostBudget):
            cost["head_cost"] = torch.tensor(float(budget.cost_of(mask)))
        return {
            "temperature": torch.tensor(self.temperature),
            "gate_sum": gates.sum(),
            **cost,
            "gate_softness": torch.minimum(gates.abs(), (1.0 - gates).abs()).mean(),
            "margin": border_margin(importance, budget),
            **{f"margin_{other}": border_margin(importance, other) for other in others},
            "frozen": self.frozen,
            **_kept_per_kind(self.layout, mask),
        }


def _kept_per_kind(layout: HeadLayout, mask: Tensor) -> dict[str, Tensor]:
    return {
        "heads_" + kind.replace(".", "_"): mask[layout.indices(kind)].sum()
        for kind in layout.kinds()
    }
