"""The pruning plan: what the flags say, parsed and checked once against the model's heads."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PruningError
from ..estimators import ESTIMATORS, Budget, CostBudget, Estimator, Limits, leaves_no_choice
from ..heads.budget import parse_budgets, parse_limits
from ..heads.costs import parse_cost_budget
from ..heads.layout import HeadLayout
from .flags import PruningConfig, options_of_estimators, training_flag

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruningPlan:
    """The flags after parsing and checking against a head layout.

    Attributes:
        budgets: the K of ``--num-of-heads``; several train one model for all of them. Or one in
            cost, of ``--cost-budget``.
        method: the name of the estimator.
        estimator: what draws the gates.
        pipelined: whether importance is trained alone until the freeze.
        temperatures: of the first update, and from the end of the cooldown on.
        noise: which noise is added to importance.
        noise_scales: as the temperatures.
        gates_after: updates with all heads, before importance learns; at their end is the first
            of these temperatures and noises.
        cooldown_steps: the update from which on they are the last.
        freeze_after: updates after which the heads are frozen.
        finetune_updates: pipelined: updates after the freeze; None where the flag is not given.
        repair_batches: pipelined: how many batches the kept heads are fitted to at the freeze.
        limits: floors and ceilings.
        seed: of the gates' own noise.
    """

    budgets: tuple[Budget, ...]
    method: str
    estimator: Estimator
    pipelined: bool
    temperatures: tuple[float, float]
    noise: str
    noise_scales: tuple[float, float]
    gates_after: int
    cooldown_steps: int
    freeze_after: int
    finetune_updates: int | None
    repair_batches: int
    limits: Limits
    seed: int

    @property
    def budget(self) -> Budget:
        """K; of several budgets the first, which evaluation uses."""
        return self.budgets[0]

    def top(self) -> str:
        """What evaluation keeps before the freeze, in words."""
        if isinstance(self.budget, CostBudget):
            return f"{self.budget}, by importance per cost"
        return f"top {self.budget} heads by importance"

    def __str__(self) -> str:
        phases = "importance alone until the freeze, " if self.pipelined else ""
        if self.gates_after:
            phases = f"all heads for {self.gates_after} updates, then "
        start, end = self.temperatures
        return (
            f"estimator {self.method}, {phases}temperature {start:g} to {end:g} over "
            f"{max(0, self.cooldown_steps - self.gates_after)} updates, freeze after "
            f"{self.freeze_after}"
        )


# ---- single flags


def _not_negative(flag: str, value: int) -> int:
    if int(value) < 0:
        raise PruningError(f"--{flag} {value} must not be negative")
    return int(value)


def budgets_of(config: PruningConfig, layout: HeadLayout) -> tuple[Budget, ...]:
    """Counts from ``--num-of-heads``, or one budget in cost.

    Raises:
        PruningError: there is none, or one that cannot be used.
    """
    if config.head_costs is None and config.cost_budget is None:
        return parse_budgets(config.num_of_heads, layout.num_heads)
    if config.num_of_heads is not None:
        raise PruningError(
            "--num-of-heads and --cost-budget are two budgets: give one of them, and --head-costs "
            "with the second only"
        )
    return (parse_cost_budget(config.head_costs, config.cost_budget, layout),)


def _temperatures(config: PruningConfig, defaults: tuple[float, float]) -> tuple[float, float]:
    start, end = (
        default if given is None else float(given)
        for given, default in zip(
            (config.initial_temperature, config.final_temperature), defaults, strict=True
        )
    )
    for flag, value in (("initial", start), ("final", end)):
        if not (value > 0 and math.isfinite(value)):
            raise PruningError(f"--{flag}-temperature {value:g} must be a positive number")
    if end > start:
        raise PruningError(
            f"--final-temperature {end:g} is above --initial-temperature {start:g}: "
            "the temperature may only fall"
        )
    return start, end


def _noise_scales(config: PruningConfig, estimator: type[Estimator]) -> tuple[float, float]:
    given = (config.initial_noise, config.final_noise)
    defaults = estimator.noise_scales
    if defaults is None:
        if given != (None, None) or config.gate_noise != "gumbel":
            raise PruningError(
                f"--gate-estimator {config.gate_estimator} adds no noise to importance: leave out "
                "--gate-noise, --initial-noise and --final-noise"
            )
        return 1.0, 1.0
    start, end = (d if g is None else float(g) for g, d in zip(given, defaults, strict=True))
    for flag, value in (("initial", start), ("final", end)):
        if not (value >= 0 and math.isfinite(value)):
            raise PruningError(f"--{flag}-noise {value:g} must be 0 or more")
    return start, end


def _gates_after(config: PruningConfig, estimator: Estimator) -> int:
    after = _not_negative("gates-after", config.gates_after or 0)
    if after and config.pruning_mode == "pipelined":
        raise PruningError(
            "--gates-after trains a dense model first, and --pruning-mode pipelined starts from "
            "one: leave it out"
        )
    if after and not estimator.learns:
        raise PruningError(
            f"--gate-estimator {config.gate_estimator} fixes its heads at the start: leave out "
            "--gates-after"
        )
    if after and after >= config.updates_before_freeze():
        raise PruningError(
            f"--gates-after {after} must be before the freeze, which is after "
            f"{config.updates_before_freeze()} updates (--freeze-heads-after)"
        )
    return after


def _repair_batches(config: PruningConfig, budgets: Sequence[Budget]) -> int:
    number = _not_negative("repair-batches", config.repair_batches or 0)
    if number and config.pruning_mode != "pipelined":
        raise PruningError(
            "--repair-batches belongs to --pruning-mode pipelined, in which the weights are the "
            "dense model's until the freeze"
        )
    if number and (len(budgets) > 1 or budgets[0] == 0):
        raise PruningError(
            "--repair-batches fits the weights to one set of heads: give one budget above 0"
        )
    return number


def _estimator(args: Any, layout: HeadLayout, budgets: Sequence[Budget]) -> Estimator:
    name = str(getattr(args, "gate_estimator", None) or PruningConfig.gate_estimator)
    if name not in ESTIMATORS:
        raise PruningError(
            f"--gate-estimator {name!r} is not one of {', '.join(ESTIMATORS)}: choose one, or give "
            "the package that has it by --user-dir"
        )
    chosen = ESTIMATORS[name]
    options = {}
    for option, owners in options_of_estimators().values():
        try:
            value = option.parse(getattr(args, option.name, None))
        except ValueError as error:
            raise PruningError(str(error)) from None
        if name in owners:
            options[option.name] = value
        elif value != option.default:
            raise PruningError(
                f"{option.flag} belongs to --gate-estimator {' or '.join(owners)}, not to {name}"
            )
    if isinstance(budgets[0], CostBudget) and not chosen.takes_costs:
        able = [name for name, estimator in ESTIMATORS.items() if estimator.takes_costs]
        raise PruningError(
            f"--gate-estimator {name} counts heads and cannot keep to a --cost-budget: use "
            f"{' or '.join(able)}, or --num-of-heads"
        )
    if len(budgets) > 1 and not chosen.exact:
        raise PruningError(
            f"--gate-estimator {name} draws gates that do not depend on K: with it, "
            "--num-of-heads takes one budget"
        )
    return chosen(sizes=layout.heads, **options)


# ---- all of them


def plan_pruning(args: Any, layout: HeadLayout) -> PruningPlan:
    """Parses and checks all pruning flags.

    Raises:
        PruningError: the first flag that cannot be used, and what would do.
    """
    config = PruningConfig.from_namespace(args)
    budgets = budgets_of(config, layout)
    limits = parse_limits(config.keep_at_least, config.keep_at_most, layout, budgets)
    estimator = _estimator(args, layout, budgets)
    cooldown = _not_negative("cooldown-steps", config.cooldown_steps)
    _not_negative("freeze-heads-after", config.freeze_heads_after or 0)
    pipelined = config.pruning_mode == "pipelined"
    if config.finetune_updates is not None and not pipelined:
        raise PruningError("--finetune-updates belongs to --pruning-mode pipelined")
    seed = config.gate_seed if config.gate_seed is not None else training_flag(args, "seed")
    return PruningPlan(
        budgets=budgets,
        method=str(config.gate_estimator),
        estimator=estimator,
        pipelined=pipelined,
        temperatures=_temperatures(config, estimator.temperatures),
        noise=str(config.gate_noise),
        noise_scales=_noise_scales(config, type(estimator)),
        gates_after=_gates_after(config, estimator),
        cooldown_steps=cooldown,
        freeze_after=config.updates_before_freeze(),
        finetune_updates=None
        if config.finetune_updates is None
        else _not_negative("finetune-updates", config.finetune_updates),
        repair_batches=_repair_batches(config, budgets),
        limits=limits,
        seed=1 if seed is None else int(seed),
    )


def check_schedule(
    plan: PruningPlan, layout: HeadLayout, max_update: Any, by_epochs: int | None = None
) -> None:
    """Says what will happen where the schedule does not fit into the training.

    Args:
        plan: the schedule.
        layout: the model's heads.
        max_update: the updates after which the training ends; None or 0 where that is open.
        by_epochs: about how many ``--max-epoch`` allows, if that is known.

    Raises:
        PruningError: the training would not end where the fine-tuning does.
    """
    if all(leaves_no_choice(budget, layout.num_heads) for budget in plan.budgets):
        return
    if plan.finetune_updates is not None:
        end = plan.freeze_after + plan.finetune_updates
        if max_update != end:
            raise PruningError(
                f"the freeze after {plan.freeze_after} updates and --finetune-updates "
                f"{plan.finetune_updates} make {end} updates: give --max-update {end}"
            )
    if by_epochs is not None and by_epochs <= plan.freeze_after:
        logger.warning(
            "--max-epoch ends this training after about %d updates, and the heads are frozen after "
            "%d: they will not be frozen; evaluation uses the %s all the same",
            by_epochs,
            plan.freeze_after,
            plan.top(),
        )
    if not max_update:
        return
    if plan.cooldown_steps > max_update:
        logger.warning(
            "--cooldown-steps %d is beyond --max-update %d: the temperature will not reach "
            "--final-temperature %g",
            plan.cooldown_steps,
            max_update,
            plan.temperatures[1],
        )
    if plan.freeze_after >= max_update:
        logger.warning(
            "--freeze-heads-after %d is not before --max-update %d: the heads will not be frozen "
            "during this training; evaluation uses the %s",
            plan.freeze_after,
            max_update,
            plan.top(),
        )
