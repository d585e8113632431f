"""Relaxed Gumbel top-K: the estimator of Differentiable Subset Pruning.

Source: Li, Cotterell and Sachan (TACL 2021), section 3, after Xie and Ermon (IJCAI 2019),
*Reparameterizable Subset Sampling via Continuous Relaxations*.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .estimator import Estimator
from .topk import constant_gates

GRADIENT_BOUND = 1e6
"""Saturation of the gradient, in multiples of the largest incoming gradient."""


class _SuccessiveSoftmax(torch.autograd.Function):
    """K softmaxes, each pushing down what the ones before it have taken; needs ``0 < K < N``.

    Everything is in float64 and in the log domain. For the largest entry of a step, whose p may be
    1 to the last bit, ``log(1 - p)`` comes from the other entries instead of from p.

    The tensors that backward needs are kept on ``ctx`` itself, since activation checkpointing
    walks back through this node once per recomputed layer and saved tensors can be read only once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int, temperature: float) -> Tensor:
        r = logits.detach().to(torch.float64).clone()
        n = r.numel()
        taken = r.new_empty(k, n)
        others = r.new_empty(k, n)
        tops = []
        for step in range(k):
            top = r.argmax(keepdim=True)
            # Relative to the largest, so that nothing is lost where r / t is huge.
            a = (r - r.gather(0, top)) / temperature
            rest = a.index_fill(0, top, -torch.inf)
            lse_rest = rest.logsumexp(0, keepdim=True)
            p = torch.exp(a - lse_rest.exp().log1p())
            log_left = torch.log1p(-p)
            log_left.scatter_(0, top, lse_rest - lse_rest.exp().log1p())
            r += log_left
            taken[step] = p
            others[step] = rest.softmax(0)
            tops.append(top)
        ctx.trace = taken, others, tops
        ctx.temperature = temperature
        return taken.sum(0).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        taken, others, tops = ctx.trace
        grad = grads[0].to(torch.float64)
        # A zero gradient stays zero, a non-finite one stays visible to loss scalers.
        scale = grad.abs().max()
        grad = grad / torch.where(scale == 0, torch.ones_like(scale), scale)
        adjoint = torch.zeros_like(grad)
        for step in range(len(tops) - 1, -1, -1):
            p, q, top = taken[step], others[step], tops[step]
            weight = (adjoint * p / (1.0 - p)).index_fill(0, top, 0.0)
            through_left = (
                p * (weight.sum() - weight - adjoint)
                + adjoint.gather(0, top) * p.gather(0, top) * q
            )
            through_taken = p * (grad - torch.dot(grad, p))
            adjoint = adjoint + (through_left + through_taken) / ctx.temperature
            adjoint = adjoint.clamp(-GRADIENT_BOUND, GRADIENT_BOUND)
        return (adjoint * scale).to(grads[0].dtype), None, None


def relaxed_top_k(logits: Tensor, k: int, temperature: float) -> Tensor:
    """Relaxed indicator of the K largest logits (Xie and Ermon 2019, eq. 5-7).

    With ``r = logits``, for j = 1..K: ``p_j = softmax(r / t)``, ``r <- r + log(1 - p_j)``. The
    gates are ``p_1 + ... + p_K``. Invariant: they sum to K at every temperature. A single gate may
    exceed 1 at K > 1 (as in the paper's code, whose runs this repeats), since nothing stops an
    entry from being taken in several steps while t is large.

    Computed in float64 whatever the dtype of ``logits``. The exact gradient grows like ``t^-K``
    where entries are close; it is therefore saturated: after each of the K steps of the backward
    pass, every entry of the adjoint is clamped to :data:`GRADIENT_BOUND` times the largest
    incoming gradient, so it is finite wherever the incoming gradient is.

    Args:
        logits: ``[N]``, finite; importance plus Gumbel noise.
        k: budget; K = 0 and K = N give constant zeros and ones, without gradient.
        temperature: t > 0; as t -> 0 the gates tend to the hard top-K.

    Returns:
        gates ``[N]`` in the dtype of ``logits``.

    Raises:
        ValueError: K is outside ``0..N`` or the temperature is not positive.
    """
    constant = constant_gates(logits, k, temperature)
    return _SuccessiveSoftmax.apply(logits, k, temperature) if constant is None else constant


class GumbelTopK(Estimator):
    """Module twin of :func:`relaxed_top_k`: perturbs importance with Gumbel noise, then relaxes.

    The noise makes the draw a relaxed sample without replacement of K heads with probability
    proportional to ``exp(importance)`` (Li et al. 2021, eq. 5-8).
    """

    noise_scales = (1.0, 1.0)

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        """Gates ``[N]`` in float64; they sum to K."""
        return relaxed_top_k(importance.to(torch.float64) + noise, k, temperature)
