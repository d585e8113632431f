"""Prices of heads and budgets for them, from their flags and from the file of dsp-measure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from ..errors import PruningError
from ..estimators.costs import CostBudget
from .layout import HeadLayout

_FORM = (
    "write KIND=PRICE for every kind, as in encoder.self=1,decoder.self=4,decoder.cross=3, or a "
    "file of dsp-measure"
)
_MOST_UNEQUAL = 10**6
_MOST = 1e100
_NEAR = Fraction(1, 1000)
"""Prices of dsp-measure are rounded: N of these heads cost N to so much of it."""


def resolve_costs(text: str) -> str:
    """Prices as ``KIND=PRICE,...``, from that or from a file that dsp-measure wrote.

    So what is stored does not depend on another file.

    Raises:
        PruningError: there is no such file, or it holds no prices.
    """
    if "=" in text and not os.path.isfile(text):
        return text
    path = Path(text)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise PruningError(f"cannot read --head-costs {path}: {reason}; {_FORM}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise PruningError(f"--head-costs {path} is no file of dsp-measure: {_FORM}") from None
    costs = content.get("costs") if isinstance(content, Mapping) else None
    if not isinstance(costs, Mapping) or not costs:
        raise PruningError(f"--head-costs {path} holds no 'costs': {_FORM}")
    return ",".join(f"{kind}={price}" for kind, price in costs.items())


def parse_cost_budget(head_costs: Any, cost_budget: Any, layout: HeadLayout) -> CostBudget:
    """A budget in cost from its two flags.

    Args:
        head_costs: of ``--head-costs``, as :func:`resolve_costs` takes it.
        cost_budget: of ``--cost-budget``.
        layout: the model's heads.

    Returns:
        the budget; what all heads cost, where C is nearly that.

    Raises:
        PruningError: one of the two is missing; a kind without a price, or a price that is not
            positive; a budget outside of what no and all heads cost, or that pays for none.
    """
    if not head_costs:
        raise PruningError(f"--cost-budget needs the prices of heads, --head-costs: {_FORM}")
    if cost_budget is None:
        raise PruningError("--head-costs needs a budget for them: give --cost-budget C")
    prices = _parse_prices(resolve_costs(str(head_costs)), layout)
    limit = _number(cost_budget)
    kinds = [site.kind for site in layout.sites for _ in layout.range(site)]
    budget = CostBudget(tuple(prices[kind] for kind in kinds), limit or Fraction())
    if limit is not None and abs(limit - budget.total) < min(budget.total * _NEAR, *budget.costs):
        return replace(budget, limit=budget.total)
    if limit is None or not 0 <= limit <= budget.total:
        raise PruningError(
            f"--cost-budget {cost_budget} is not a number from 0 to {float(budget.total):g}, which "
            "all heads of this model cost"
        )
    if 0 < limit < min(budget.costs):
        raise PruningError(
            f"--cost-budget {cost_budget} pays for no head: the cheapest costs "
            f"{float(min(budget.costs)):g}"
        )
    return budget


def _parse_prices(text: str, layout: HeadLayout) -> dict[str, Fraction]:
    prices: dict[str, Fraction] = {}
    for part in text.replace(" ", "").split(","):
        kind, _, number = part.partition("=")
        price = _number(number)
        if kind not in layout.kinds():
            raise PruningError(
                f"--head-costs {part!r}: this model has the kinds {', '.join(layout.kinds())}; "
                f"{_FORM}"
            )
        if kind in prices or not price or price < 0:
            raise PruningError(f"--head-costs {part!r}: a kind has one price above 0; {_FORM}")
        prices[kind] = price
    if missing := [kind for kind in layout.kinds() if kind not in prices]:
        raise PruningError(f"--head-costs has no price for {' and '.join(missing)}: {_FORM}")
    if max(prices.values()) > _MOST_UNEQUAL * min(prices.values()):
        raise PruningError("--head-costs: the prices differ by more than a factor of a million")
    return prices


def _number(text: Any) -> Fraction | None:
    """A finite number, as it is written in decimals; None where it is none."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    # By way of a float, whose digits are few whatever was written.
    return Fraction(repr(value)) if abs(value) < _MOST else None
