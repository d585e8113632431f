"""What an estimator is: a way of drawing gates from importance, and of passing gradient back."""

from __future__ import annotations

import math
from collections import UserDict
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Option:
    """An option of an estimator: its flag, default, help and check, in one place.

    Attributes:
        name: of the constructor's argument; the flag is this with dashes.
        default: where the flag is not given.
        text: its help.
    """

    name: str
    default: float | None
    text: str

    @property
    def flag(self) -> str:
        """The flag of fairseq-train."""
        return "--" + self.name.replace("_", "-")

    def parse(self, value: Any) -> float | None:
        """The value of a flag.

        Raises:
            ValueError: it is negative, or no finite number.
        """
        if value is None:
            return self.default
        if not (float(value) >= 0 and math.isfinite(float(value))):
            raise ValueError(f"{self.flag} {value:g} must be 0 or more")
        return float(value)


class Estimator(nn.Module):
    """Maps importance (log-weights ``[N]``) and a budget K to gates ``[N]``.

    An estimator has no state: everything it draws comes from the noise it is given.

    Class attributes:
        temperatures: default temperatures of the first update and of the end of the cooldown.
        noise_scales: the same for the scale of its noise; None where the noise cannot be scaled,
            since the distribution that is sampled is defined by it.
        exact: whether the gates always sum to K. Where they do not, a penalty drives their number
            towards K, and the freeze is what makes it exact.
        learns: whether importance is trained.
        takes_costs: whether in place of K it takes a :class:`~.costs.CostBudget`.
        options: what its constructor takes beside ``sizes``, the heads of each site.
    """

    temperatures: ClassVar[tuple[float, float]] = (0.1, 1e-8)
    noise_scales: ClassVar[tuple[float, float] | None] = None
    exact: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    takes_costs: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, **_: Any) -> None:
        """Takes the options of all estimators; each picks its own."""
        super().__init__()

    def forward(self, importance: Tensor, k: Any, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]``.

        Args:
            importance: log-weights ``[N]``.
            k: budget, ``0..N``; where it ``takes_costs``, one of cost too.
            temperature: t > 0.
            noise: standard Gumbel noise ``[N]``, float64 (or what it was scaled to).
        """
        raise NotImplementedError

    def penalty(
        self, importance: Tensor, k: Any, temperature: float, progress: float
    ) -> Tensor | None:
        """What is added to the loss per token; None where the budget is exact.

        Args:
            importance: log-weights ``[N]``.
            k: budget.
            temperature: t > 0, that of the gates.
            progress: share of the updates before the freeze that are done, ``0..1``.
        """
        return None

    def initial_importance(self, noise: Tensor) -> Tensor:
        """Importance ``[N]`` of the first update, from Gumbel noise ``[N]`` of the gate seed."""
        return noise.new_zeros(noise.numel())


class Estimators(UserDict[str, type[Estimator]]):
    """Estimators by name, in which none takes the place of another."""

    def __setitem__(self, name: str, estimator: type[Estimator]) -> None:
        """Adds one.

        Raises:
            ValueError: its name is another's.
        """
        if self.data.get(name) not in (None, estimator):
            raise ValueError(
                f"the estimator {name!r} is there already: register yours by another name"
            )
        super().__setitem__(name, estimator)
