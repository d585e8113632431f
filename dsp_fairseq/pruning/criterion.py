"""What a criterion of fairseq's needs for a model with gated heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from torch import Tensor

_PREFIX = "gates/"
_DIGITS = {"temperature": 10, "gate_softness": 5, "margin": 5}


class GateCriterionMixin(FairseqCriterion):
    """A criterion computed under the sampled gates, plus the model's gate penalty.

    Put it before a criterion of fairseq's among the bases. The penalty is per token (or whatever
    the sample size counts), as the loss is after fairseq's division by the sample size; an
    estimator whose budget is exact has none. Where the model has a teacher, that is mixed in, in
    training only (:mod:`~dsp_fairseq.pruning.distillation`). Logged besides the criterion's own
    values: what ``HeadGates.statistics`` returns, and ``distill``, the divergence from the teacher.
    """

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        loss, sample_size, logging_output = self._taught(model, sample, reduce)
        penalty = model.head_gates.penalty()
        if penalty is not None and model.training:
            loss = loss + penalty * sample_size
            logging_output[_PREFIX + "penalty"] = penalty.detach()
        if model.training:
            model.watch.note(sample, loss)
        with torch.no_grad():
            for name, value in model.head_gates.statistics().items():
                logging_output[_PREFIX + name] = value
        # fairseq sums these over micro-batches and processes: a count makes means of them again.
        logging_output["gate_logs"] = 1
        return loss, sample_size, logging_output

    def _taught(
        self, model: Any, sample: dict[str, Any], reduce: bool
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """fairseq's criterion, and what a teacher adds to its loss."""
        distillation = model.distillation
        if distillation is None or not model.training:
            return super().forward(model, sample, reduce)
        with distillation.listening(model):
            loss, sample_size, logging_output = super().forward(model, sample, reduce)
        divergence = distillation.divergence(self.left_out(sample["target"]))
        logging_output["distill"] = divergence.detach()
        return distillation.mix(loss, divergence), sample_size, logging_output

    def left_out(self, target: Tensor) -> Tensor | None:
        """The targets ``[B, T]`` that the loss does not count; None where it counts all."""
        padding = target.eq(self.padding_idx)
        padding[:, : getattr(self, "ignore_prefix_size", 0)] = True
        return padding

    @classmethod
    def reduce_metrics(cls, logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Aggregates over micro-batches and processes, and puts all values into the logs."""
        super().reduce_metrics(logging_outputs)
        count = sum(log.get("gate_logs", 0) for log in logging_outputs)
        if not count:
            return
        for key in (key for key in logging_outputs[0] if key.startswith(_PREFIX)):
            name = key.removeprefix(_PREFIX)
            mean = sum(log.get(key, 0) for log in logging_outputs) / count
            digits = _DIGITS.get("margin" if name.startswith("margin_") else name, 3)
            metrics.log_scalar(name, mean, round=digits)
        if any("distill" in log for log in logging_outputs):
            # As fairseq's loss: in bits, by the sample size.
            nats = sum(log.get("distill", 0) for log in logging_outputs)
            size = sum(log.get("sample_size", 0) for log in logging_outputs)
            metrics.log_scalar("distill", nats / size / math.log(2), size, round=3)
