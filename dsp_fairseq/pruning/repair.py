"""Repair of a pruned model without training: each output projection is fitted again.

Layer-wise reconstruction on unlabelled calibration data, as in Hubara et al., *Accurate Post
Training Quantization With Small Calibration Sets* (AdaQuant) and *Accelerated Sparse Neural
Training* (AdaPrune), 2021, solved in closed form.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import PruningError
from ..heads.layout import HeadLayout, Site
from ..modules.attention import GatedAttention
from ..progress import progress
from .halted import Halt, halted_passes

RIDGE = 1e-3
"""How strongly the old weights hold, as a share of the mean square of the heads' outputs."""


class Regression:
    """Ridge regression of outputs on inputs, from sums over batches in double precision.

    The weights are drawn to what they were before, the bias is free: without inputs it is the mean
    of the outputs.

    Args:
        inputs, outputs: I and O, the sizes of a row.
        device: of the rows.
    """

    def __init__(self, inputs: int, outputs: int, device: torch.device | str = "cpu") -> None:
        self._inputs, self._count = inputs, 0
        options: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self._sums = torch.zeros(inputs + outputs, **options)
        self._products = torch.zeros(inputs, inputs + outputs, **options)
        self._squares = torch.zeros((), **options)

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Adds rows ``[R, I]`` and ``[R, O]``."""
        rows = torch.cat([inputs, outputs], dim=1).double()
        self._count += len(rows)
        self._sums += rows.sum(0)
        self._products += rows[:, : self._inputs].t() @ rows
        self._squares += outputs.double().square().sum()

    def solve(self, weight: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Weight ``[O, I]`` and bias ``[O]``.

        Args:
            weight: ``[O, I]``, what the weights are drawn to.
            ridge: how strongly, as a share of the inputs' mean variance.

        Raises:
            PruningError: there were no rows, or not all are finite.
        """
        i, mean = self._inputs, self._sums / max(self._count, 1)
        covariance = self._products / max(self._count, 1) - mean[:i].outer(mean)
        solution = weight.double()
        if i and self._count:
            # Inputs that never change leave the weights as they are.
            strength = (ridge * covariance.diagonal().mean()).clamp_min(1e-30)
            held = strength * torch.eye(i, dtype=torch.float64, device=mean.device)
            right = covariance[:, i:] + strength * solution.t()
            solution = torch.linalg.solve(covariance[:, :i] + held, right).t()
        bias = mean[i:] - solution @ mean[:i]
        finite = bool(solution.isfinite().all() and bias.isfinite().all())
        if not (self._count and finite):
            raise PruningError(
                "the repair gives numbers that are not finite: did the training of the dense model "
                "diverge? Leave the repair out to see"
            )
        return solution, bias

    def error(self, weight: Tensor, bias: Tensor) -> float:
        """Squared error of a weight and a bias, as a share of the squared outputs."""
        i, weight, bias = self._inputs, weight.double(), bias.double()
        sums = weight @ self._sums[:i] - self._sums[i:]
        error = self._squares + self._count * bias @ bias + 2 * bias @ sums
        error += (weight * (weight @ self._products[:, :i] - 2 * self._products[:, i:].t())).sum()
        return float(error.clamp_min(0) / self._squares.clamp_min(1e-30))


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Attributes:
        before, after: squared errors of the sites that were fitted, as shares of the squared
            outputs of the dense model's sites.
        batches: how many batches of the data it looked at.
        seconds: how long it took.
    """

    before: Mapping[Site, float]
    after: Mapping[Site, float]
    batches: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.after:
            return "no head is closed: nothing to repair"
        means = (sum(errors.values()) / len(errors) for errors in (self.before, self.after))
        return (
            f"{len(self.after)} sublayers on {self.batches} batches, relative squared error "
            f"{' -> '.join(f'{mean:.3f}' for mean in means)} (mean), {self.seconds:.1f} s"
        )


@torch.no_grad()
def repair(
    model: Any,
    dense: Any,
    layout: HeadLayout,
    batches: Sequence[Mapping[str, Any]],
    ridge: float = RIDGE,
) -> Repair:
    """Fits the output projections of a pruned model, in the order in which its sites run.

    Each site is to give, on what the sites before it make of the batches by then, what the site of
    the dense model gives. Where a layer of fairseq adds
    the output to the query itself, which is where it normalises afterwards, it is their sum that
    is to be the dense model's: a site makes good what those before it left. Padding does not
    count. Sites before the first that lacks a head stay as they are.

    Each batch passes once through either model. The states of all batches at one site are in
    memory, with their float32 activations.

    Args:
        model: gated, in evaluation, with the heads closed that are to be closed; changed in place.
        dense: the same without any fit, in evaluation, whose heads are all opened.
        layout: their heads.
        batches: of fairseq, on the models' device.
        ridge: as in :meth:`Regression.solve`.

    Raises:
        PruningError: results that are not finite.
    """
    start = time.monotonic()
    attentions = [model.get_submodule(site.module_name) for site in layout.sites]
    if not any(attention.lacks_heads for attention in attentions):
        return Repair({}, {})
    for site, heads in zip(layout.sites, layout.heads, strict=True):
        dense.get_submodule(site.module_name).use_heads(range(heads))
    before: dict[Site, float] = {}
    after: dict[Site, float] = {}
    with halted_passes([model, dense], layout, batches) as passes:
        for _ in progress(range(len(layout.sites)), len(layout.sites), "repairing", "sublayers"):
            halts = ((pruned.advance(), full.advance()) for pruned, full in passes)
            site, attention, regression = _collect(halts, model)
            if not (after or attention.lacks_heads):
                continue
            old = attention.output_weight(), attention.out_proj.bias
            new = regression.solve(old[0], ridge)
            before[site], after[site] = regression.error(*old), regression.error(*new)
            attention.refit(*new)
    return Repair(before, after, len(batches), time.monotonic() - start)


def _collect(
    halts: Iterable[tuple[Halt, Halt]], model: Any
) -> tuple[Site, GatedAttention, Regression]:
    """One site, and the regression of what it is to give on the outputs of the pruned heads."""
    regression = None
    for here, there in halts:
        outputs = there.attention.project(there.heads)
        layer = model.get_submodule(here.site.module_name.rpartition(".")[0])
        if not getattr(layer, "normalize_before", True):
            outputs = outputs + there.query - here.query
        if regression is None:
            sizes = here.heads.size(-1), outputs.size(-1)
            regression = Regression(*sizes, device=outputs.device)
        regression.add(here.rows(here.heads), there.rows(outputs))
    assert regression is not None
    return here.site, here.attention, regression
