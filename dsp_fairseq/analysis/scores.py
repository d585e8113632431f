"""What the heads of a dense model are worth, by gradients or by norms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import PruningError
from ..heads.layout import HeadLayout, Site
from ..modules.head_rows import rows_of

TIE_BREAK = 1e-9


def gate_gradients(
    model: Any, criterion: nn.Module, batches: Iterable[Mapping[str, Any]], open_heads: Tensor
) -> Tensor:
    """Sum over batches of ``|d loss / d gate|``, without dropout.

    The loss of a batch is the sum over its tokens, so batches count by their size.

    Args:
        model: a gated model; it is left in evaluation, with exactly its K heads.
        criterion: fairseq's criterion of a model and a batch.
        batches: on the model's device.
        open_heads: 0/1 ``[N]``; the gates of the other heads are 0, and so are their scores.

    Returns:
        ``[N]``, in double precision, on the CPU.
    """
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros(open_heads.numel(), dtype=torch.float64, device=device)
    with _repeatable(device):
        for sample in batches:
            gates = open_heads.to(device, torch.float32).requires_grad_()
            model.scale_heads(gates)
            loss, _, _ = criterion(model, sample)
            total += torch.autograd.grad(loss, gates)[0].abs()
    model.eval()
    return total.cpu() * open_heads.double().cpu()


def sentence_gradients(
    model: Any, criterion: nn.Module, batches: Iterable[Mapping[str, Any]], layout: HeadLayout
) -> Tensor:
    """The gradient of each sentence's loss with respect to the gates, all of them open.

    A gate scales a head's outputs, so its gradient is their product with the gradient of the
    outputs, summed over the positions of the sentence.

    Args:
        model: a gated model with all heads open; it is left in evaluation.
        criterion: fairseq's criterion of a model and a batch.
        batches: on the model's device.
        layout: the model's heads.

    Returns:
        ``[sentences, N]``, in double precision, on the CPU.
    """
    model.eval()
    outputs: dict[Site, Tensor] = {}
    attentions = {site: model.get_submodule(site.module_name) for site in layout.sites}
    device = next(model.parameters()).device
    model.scale_heads(torch.ones(layout.num_heads, device=device))
    found = []
    try:
        for site, attention in attentions.items():
            attention.on_heads = lambda heads, *_, site=site: outputs.update({site: heads})
        with _repeatable(device):
            for sample in batches:
                loss, _, _ = criterion(model, sample)
                read = [outputs[site] for site in layout.sites]
                # Without cross-attention nothing reads the encoder: its gradients are zero.
                gradients = torch.autograd.grad(
                    loss, read, allow_unused=True, materialize_grads=True
                )
                products = [
                    (gradient * output.detach()).double().unflatten(2, (heads, -1))
                    for gradient, output, heads in zip(gradients, read, layout.heads, strict=True)
                ]
                found.append(torch.cat([x.sum((0, 3)) for x in products], dim=1).cpu())
    finally:
        for attention in attentions.values():
            attention.on_heads = None
        model.eval()
    return torch.cat(found)


def _repeatable(device: torch.device) -> AbstractContextManager[Any]:
    """On a GPU the fused kernels' backward adds up in no fixed order."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cuda" else nullcontext()


def weight_norms(weights: Mapping[str, Tensor], layout: HeadLayout) -> Tensor:
    """The l2 norm of each head's weights: its rows of q, k and v and its columns of out_proj.

    Biases do not count.

    Args:
        weights: a state dict with all heads.
        layout: these heads.

    Returns:
        ``[N]``, in double precision.
    """
    norms = []
    for site, heads in zip(layout.sites, layout.heads, strict=True):
        rows = rows_of(weights, f"{site.module_name}.")
        parts = [x.double().reshape(heads, -1) for name, x in rows.items() if "weight" in name]
        norms.append(torch.cat(parts, dim=1).norm(dim=1))
    return torch.cat(norms).cpu()


def check_finite(scores: Tensor) -> None:
    """Raises ``PruningError`` where scores are not finite."""
    if not bool(scores.isfinite().all()):
        raise PruningError("the scores are not finite: did the training of the checkpoint diverge?")


def normalise_per_site(scores: Tensor, layout: HeadLayout) -> Tensor:
    """Divides the scores ``[N]`` of each site by their l2 norm; a site of zeros stays as it is.

    A head that is the last of its site is 1 then. Such ties go by what the heads score without
    that: a billionth of their share of the largest score is added.

    Raises:
        PruningError: scores that are not finite.
    """
    check_finite(scores)
    parts = layout.split(scores).values()
    normalised = torch.cat([part / part.norm() if part.any() else part for part in parts])
    return normalised + TIE_BREAK * scores / scores.max().clamp_min(torch.finfo(scores.dtype).tiny)
