"""Ranks the heads of a trained dense model, and closes the lowest.

Michel, Levy and Neubig, *Are Sixteen Heads Really Better than One?*, NeurIPS 2019, and two controls
that look at no data. Nothing is trained: what is written can be used or fine-tuned like any frozen
checkpoint.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, tasks, utils
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.models.transformer import TransformerModel
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from ..checkpoints.checkpoint import (
    SCORED_BY,
    load_checkpoint,
    model_arguments,
    save_checkpoint,
    without_optimizer,
)
from ..data.batches import load_split, split_batches
from ..errors import CommandExit, PruningError
from ..estimators import top_k_mask
from ..files import in_place_of, refuse_existing
from ..heads.family import architecture
from ..heads.layout import HeadLayout
from ..models.transformer import DspTransformerModel
from ..pruning.flags import TRAINING_FLAGS, pruning_flags
from ..pruning.gates import HeadGates
from .head_map import HeadMap, head_map_of

METHODS = ("michel", "weight-norm", "random")
TIE_BREAK = 1e-9
_CRITERION = "dsp_label_smoothed_cross_entropy"


# ---- scores


def gate_gradients(
    model: DspTransformerModel,
    criterion: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    open_heads: Tensor,
) -> Tensor:
    """Sum over batches of ``|d loss / d gate|``, without dropout.

    The loss of a batch is the sum over its tokens, so batches count by their size.

    Args:
        model: a gated transformer; it is left in evaluation, with exactly its K heads.
        criterion: fairseq's criterion of a model and a batch.
        batches: on the model's device.
        open_heads: 0/1 ``[N]``; the gates of the other heads are 0, and so are their scores.

    Returns:
        ``[N]``, in double precision, on the CPU.
    """
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros(open_heads.numel(), dtype=torch.float64, device=device)
    # On a GPU the fused kernels' backward adds up in no fixed order.
    with sdpa_kernel(SDPBackend.MATH) if device.type == "cuda" else nullcontext():
        for sample in batches:
            gates = open_heads.to(device, torch.float32).requires_grad_()
            model.scale_heads(gates)
            loss, _, _ = criterion(model, sample)
            total += torch.autograd.grad(loss, gates)[0].abs()
    model.eval()
    return total.cpu() * open_heads.double().cpu()


def weight_norms(model: DspTransformerModel) -> Tensor:
    """The l2 norm of each head's weights: its rows of q, k and v and its columns of out_proj.

    Biases do not count.

    Returns:
        ``[N]``, in double precision.
    """
    norms = []
    for site, heads in zip(
        model.head_gates.layout.sites, model.head_gates.layout.heads, strict=True
    ):
        attention = model.get_submodule(site.module_name)
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        rows = [linear.weight for linear in inputs] + [attention.out_proj.weight.t()]
        parts = [weight.detach().double().reshape(heads, -1) for weight in rows]
        norms.append(torch.cat(parts, dim=1).norm(dim=1))
    return torch.cat(norms).cpu()


def normalise_per_site(scores: Tensor, layout: HeadLayout) -> Tensor:
    """Divides the scores ``[N]`` of each site by their l2 norm; a site of zeros stays as it is.

    A head that is the last of its site is 1 then. Such ties go by what the heads score without
    that: a billionth of their share of the largest score is added.

    Raises:
        PruningError: scores that are not finite.
    """
    if not bool(scores.isfinite().all()):
        raise PruningError("the scores are not finite: did the training of the checkpoint diverge?")
    parts = layout.split(scores).values()
    normalised = torch.cat([part / part.norm() if part.any() else part for part in parts])
    return normalised + TIE_BREAK * scores / scores.max().clamp_min(torch.finfo(scores.dtype).tiny)


# ---- the order


def rank_heads(
    score: Callable[[Tensor], Tensor],
    num_heads: int,
    budget: int,
    floors: Sequence[tuple[Sequence[int], int]] = (),
    step: int | None = None,
) -> Tensor:
    """Closes the heads of the lowest scores, a few at a time, until ``budget`` are left.

    Args:
        score: maps the 0/1 mask ``[N]`` of the heads still open to scores ``[N]``, of which those
            of open heads are looked at.
        num_heads: N.
        budget: K.
        floors: as in :func:`~dsp_fairseq.estimators.top_k_mask`.
        step: how many heads to close before scoring again (default: all that must go, at once).

    Returns:
        the heads' numbers ``[N]``, best first. The first K are those kept; behind them what was
        closed later stands before what was closed earlier, and otherwise the scores decide.
    """
    step = num_heads if step is None else step
    left = torch.ones(num_heads)
    scores = score(left)
    closed: list[Tensor] = []
    while int(left.sum()) > budget:
        if closed:
            scores = score(left)
        size = max(budget, int(left.sum()) - step)
        kept = top_k_mask(scores.masked_fill(left == 0, -torch.inf), size, floors)
        closed.insert(0, _sorted(scores, left - kept))
        left = kept
    return torch.cat([_sorted(scores, left), *closed])


def _sorted(scores: Tensor, mask: Tensor) -> Tensor:
    """The heads of a mask, highest score first; ties go to the lower number, as in the top K."""
    heads = mask.nonzero().flatten()
    return heads[torch.argsort(scores[heads], descending=True, stable=True)]


def importance_of(order: Tensor) -> Tensor:
    """Importance ``[N]`` in this order: from 1 for the best head, evenly down to 1/N.

    Ranks and not scores, since scores of different steps do not compare.
    """
    importance = torch.empty(order.numel())
    importance[order] = torch.arange(order.numel(), 0, -1) / order.numel()
    return importance


# ---- from a dense checkpoint to a gated one


def frozen_state(
    state: Mapping[str, Any], path: Path, budget: int, keep_at_least: str, seed: int
) -> dict[str, Any]:
    """The checkpoint as that of a ``dsp_transformer`` with a budget; its weights are missing yet.

    Args:
        state: a checkpoint of fairseq's ``transformer``, or of a ``dsp_transformer`` with K = N.
        path: of the checkpoint, for messages.
        budget: K.
        keep_at_least: floors, as in the flag.
        seed: what to name as the seed.

    Raises:
        PruningError: of another model, or of one that is pruned.
    """
    if state.get("cfg") is None:
        weights = state["model"]
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        config = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
        state = {**state, "cfg": config, "model": weights}
    result = without_optimizer(state)
    config = result["cfg"]
    criterion = _items(config.get("criterion") or {})
    names = [field.name for field in fields(LabelSmoothedCrossEntropyCriterionConfig)]
    config["criterion"] = {name: criterion[name] for name in names if name in criterion}
    config["criterion"] |= {"_name": _CRITERION}
    config["criterion"].setdefault("sentence_avg", False)
    config["optimizer"] = {"_name": "dsp_adam"}
    arguments = model_arguments(state)
    name = _gated_architecture(state, arguments, path)
    for flag in TRAINING_FLAGS:
        # How the dense model was trained, in 16 bits or in several processes, binds nobody.
        vars(arguments).pop(flag, None)
    vars(arguments).update(pruning_flags())
    arguments.arch = arguments._name = name
    arguments.criterion, arguments.optimizer = _CRITERION, "dsp_adam"
    arguments.num_of_heads, arguments.keep_at_least = str(budget), keep_at_least
    arguments.gate_seed = seed
    config["model"] = arguments
    return result


def _gated_architecture(state: Mapping[str, Any], arguments: Namespace, path: Path) -> str:
    name = architecture(arguments)
    model = ARCH_MODEL_REGISTRY.get(name)
    if "dsp_signature" in state or getattr(arguments, "kept_heads", None) is not None:
        raise PruningError(f"{path} is exported, its heads are chosen: give a dense checkpoint")
    if model is DspTransformerModel:
        head_map = head_map_of(state, path)
        if head_map.budget != head_map.layout.num_heads:
            raise PruningError(
                f"{path} is pruned, to {head_map.budget} of {head_map.layout.num_heads} heads: "
                "give a dense checkpoint"
            )
        return str(name)
    if model is not TransformerModel:
        raise PruningError(
            f"{path} is of {name or 'an unnamed model'}: only fairseq's transformer and a "
            "dsp_transformer with all its heads can be scored"
        )
    gated = f"dsp_{name}"
    return gated if ARCH_MODEL_REGISTRY.get(gated) is DspTransformerModel else "dsp_transformer"


def _items(node: Any) -> Mapping[str, Any]:
    return vars(node) if isinstance(node, Namespace) else node


def _setup_task(config: Mapping[str, Any], data: Path) -> Any:
    node = config["task"]
    if isinstance(node, Namespace):
        task_config: Any = Namespace(**{**vars(node), "data": str(data)})
    else:
        task_config = OmegaConf.create({**node, "data": str(data)})
    try:
        return tasks.setup_task(task_config, from_checkpoint=True)
    except Exception as error:  # fairseq raises all kinds, and bare Exception too
        raise PruningError(f"--data {data} does not hold the data of this model: {error}") from None


def _build(
    state: Mapping[str, Any], weights: Mapping[str, Tensor], task: Any, path: Path
) -> DspTransformerModel:
    try:
        model = DspTransformerModel.build_model(state["cfg"]["model"], task)
        own = {f"head_gates.{key}": value for key, value in model.head_gates.state_dict().items()}
        dense = {k: v for k, v in weights.items() if not k.startswith("head_gates.")}
    except (RuntimeError, ValueError) as error:
        raise _misfit(path, task, str(error).strip().splitlines()[-1].strip()) from None
    try:
        model.load_state_dict({**dense, **own})
    except CommandExit as end:
        raise _misfit(path, task, end.error.message) from None
    return model.eval()


def _misfit(path: Path, task: Any, reason: str) -> PruningError:
    return PruningError(
        f"the weights of {path} do not fit the dictionaries of {task.cfg.data}, or its own "
        f"configuration: {reason}"
    )


# ---- scoring a checkpoint


def score_checkpoint(
    source: Path,
    output: Path,
    data: Path,
    method: str,
    budget: int,
    one_shot: bool = False,
    heads_per_step: int | None = None,
    split: str = "train",
    max_batches: int | None = None,
    max_tokens: int = 4096,
    keep_at_least: str = "",
    seed: int = 1,
    cpu: bool = False,
) -> HeadMap:
    """Ranks the heads of a dense checkpoint and writes it as one that is frozen at the best K.

    Args:
        source: of fairseq's ``transformer``, or of a ``dsp_transformer`` with K = N.
        output: a new file.
        data: folder of the dictionaries, and for ``michel`` of the split.
        method: one of :data:`METHODS`.
        budget: K.
        one_shot: close all heads after one scoring (``michel``).
        heads_per_step: heads to close before scoring again (default: a tenth of N).
        split: the data that are scored on.
        max_batches: how many batches of them (default: all), drawn by the seed.
        max_tokens: the size of a batch.
        keep_at_least: floors on the heads kept, as in the flag.
        seed: of ``random``, and of the order of the batches.
        cpu: do not use a GPU.

    Returns:
        what the output keeps.

    Raises:
        PruningError: the output exists, or the checkpoint, the data or the budget do not do.
    """
    refuse_existing(output)
    dense = load_checkpoint(source)
    state = frozen_state(dense, source, budget, keep_at_least, seed)
    task = _setup_task(state["cfg"], data)
    model = _build(state, dense["model"], task, source)
    gates = model.head_gates
    assert isinstance(gates, HeadGates)  # frozen_state refuses exported models
    layout, plan = gates.layout, gates.plan
    step = None
    if method == "michel":
        load_split(task, split)
        if torch.cuda.is_available() and not cpu:
            model.cuda()
        if not one_shot:
            step = heads_per_step or math.ceil(layout.num_heads / 10)
        criterion = task.build_criterion(OmegaConf.create(state["cfg"]["criterion"]))

        def score(left: Tensor) -> Tensor:
            batches = split_batches(task, [model], split, max_tokens, shuffle=True, seed=seed)
            number = min(len(batches), max_batches or len(batches))
            bar = tqdm(
                islice(batches, number), f"scoring {int(left.sum())} heads", number, disable=None
            )
            on_device = map(utils.move_to_cuda, bar) if next(model.parameters()).is_cuda else bar
            return normalise_per_site(gate_gradients(model, criterion, on_device, left), layout)

    elif method == "weight-norm":

        def score(left: Tensor) -> Tensor:
            return normalise_per_site(weight_norms(model), layout)

    else:

        def score(left: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            return torch.randperm(layout.num_heads, generator=generator).double()

    with in_place_of(output) as temporary:
        order = rank_heads(score, layout.num_heads, plan.budget, plan.floors, step)
        model.cpu()
        gates.adopt(importance_of(order))
        state["model"] = model.state_dict()
        state[SCORED_BY] = f"{method}-one-shot" if one_shot else method
        head_map = head_map_of(state, output)
        save_checkpoint(state, temporary, output)
    return head_map
