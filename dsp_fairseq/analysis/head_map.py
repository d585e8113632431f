"""Which attention heads a checkpoint keeps, as text and as JSON."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints.checkpoint import load_checkpoint, model_arguments
from ..checkpoints.validation import check_attentions, check_gates
from ..errors import PruningError
from ..estimators import margin, top_k_mask
from ..heads.budget import check_floors, parse_budget, parse_budgets, parse_floors
from ..heads.family import architecture, family_of
from ..heads.layout import HeadLayout, Site, parse_kept_heads
from ..pruning.flags import PruningConfig


@dataclass(frozen=True, eq=False)
class HeadMap:
    """The heads of a model and which of them it keeps.

    Attributes:
        layout: the model's heads.
        importance: log-weights ``[N]``, or None for a model that was exported without them.
        mask: 0/1 ``[N]``, with exactly ``budget`` ones.
        frozen: whether the mask is final, and not the top K of an unfinished training.
        budget: K.
    """

    layout: HeadLayout
    importance: Tensor | None
    mask: Tensor
    frozen: bool
    budget: int

    @property
    def kept(self) -> dict[Site, list[int]]:
        """Per site, the numbers of the heads that are kept."""
        return self.layout.kept(self.mask)

    @property
    def margin(self) -> float | None:
        """Importance ranked K-th less the next, as in the training log; None without a choice."""
        if self.importance is None or self.budget in (0, self.layout.num_heads):
            return None
        return float(margin(self.importance, self.budget))

    def count(self, kind: str) -> tuple[int, int]:
        """How many heads of one kind of site are kept, and how many there are."""
        indices = self.layout.indices(kind)
        return int(self.mask[indices].sum()), len(indices)


# ---- reading a checkpoint


def read_head_map(path: Path, num_of_heads: int | str | None = None) -> HeadMap:
    """Reads a checkpoint of a gated transformer, or of a model that was exported from one.

    Args:
        path: the checkpoint file.
        num_of_heads: K instead of the budget in the checkpoint, which must not be frozen then.

    Raises:
        PruningError: no such checkpoint, one without head importance, or a K that does not fit.
    """
    return head_map_of(load_checkpoint(path), path, num_of_heads)


def head_map_of(
    state: Mapping[str, Any], path: Path, num_of_heads: int | str | None = None
) -> HeadMap:
    """As :func:`read_head_map`, of a checkpoint that is loaded; ``path`` is for messages."""
    args, weights = model_arguments(state), state["model"]
    importance = weights.get("head_gates.importance")
    if importance is not None:
        return _from_gates(path, args, weights, importance, num_of_heads)
    kept_heads = getattr(args, "kept_heads", None)
    if not kept_heads:
        raise PruningError(
            f"{path} holds no head importance: it is not of a dsp_transformer, but of "
            f"{architecture(args) or 'an unnamed model'}"
        )
    layout = _layout(path, args)
    try:
        mask = layout.mask(parse_kept_heads(str(kept_heads), layout))
    except ValueError as error:
        raise PruningError(f"{path} is damaged: its kept_heads {error}") from None
    check_attentions(weights, layout, layout.kept(mask), str(path))
    budget = _frozen_budget(path, [int(mask.sum())], num_of_heads, layout)
    return HeadMap(layout, None, mask, frozen=True, budget=budget)


def _layout(path: Path, args: Namespace) -> HeadLayout:
    try:
        return family_of(args).layout(args)
    except PruningError as error:
        raise PruningError(f"{path}: {error.message}") from None
    except AttributeError as error:
        raise PruningError(
            f"{path} does not say its model's {error.name}, and its architecture "
            f"{architecture(args)!r} is not known"
        ) from None
    except (TypeError, ValueError) as error:
        raise PruningError(
            f"{path} is damaged: its layers or heads are no numbers: {error}"
        ) from None


def _from_gates(
    path: Path,
    args: Namespace,
    weights: Mapping[str, Tensor],
    importance: Tensor,
    num_of_heads: int | str | None,
) -> HeadMap:
    layout = _layout(path, args)
    check_gates(weights, layout, str(path))
    check_attentions(weights, layout, None, str(path))
    importance = importance.detach().float()
    frozen = weights["head_gates.frozen"]
    if bool(frozen):
        mask = weights["head_gates.mask"].float()
        frozen_at = int(mask.sum())
        budget = _frozen_budget(path, _trained_budgets(weights, frozen_at), num_of_heads, layout)
        if budget == frozen_at:
            return HeadMap(layout, importance, mask, frozen=True, budget=budget)
    config = PruningConfig.from_namespace(args)
    if num_of_heads is None:
        budget = parse_budgets(config.num_of_heads, layout.num_heads)[0]
    else:
        budget = parse_budget(num_of_heads, layout.num_heads)
    trained, constant = _budgets(weights), {0, layout.num_heads}
    if budget not in constant and set(trained) <= constant:
        raise PruningError(
            f"{path} was trained with {trained[0]} heads, so nothing says which {budget} "
            "to keep: rank them by dsp-score-heads"
        )
    floors = parse_floors(config.keep_at_least, layout)
    check_floors(config.keep_at_least, floors, budget)
    mask = top_k_mask(importance, budget, floors)
    return HeadMap(layout, importance, mask, frozen=bool(frozen), budget=budget)


def _trained_budgets(weights: Mapping[str, Tensor], frozen_at: int) -> list[int]:
    """The budgets of a frozen checkpoint, the one that it is frozen at first."""
    return [frozen_at, *(budget for budget in _budgets(weights) if budget != frozen_at)]


def _budgets(weights: Mapping[str, Tensor]) -> list[int]:
    return weights["head_gates.budgets"].nonzero().flatten().tolist()


def _frozen_budget(
    path: Path, trained: Sequence[int], num_of_heads: int | str | None, layout: HeadLayout
) -> int:
    if num_of_heads is None:
        return trained[0]
    budget = parse_budget(num_of_heads, layout.num_heads)
    if budget not in trained:
        raise PruningError(
            f"{path} is frozen at {' and '.join(map(str, trained))} heads: --num-of-heads "
            f"{num_of_heads} can only be tried on a checkpoint from before the freeze"
        )
    return budget


# ---- text and JSON


def render_text(head_map: HeadMap) -> str:
    """One block a kind of site, one row a layer, one column a head, and a summary line."""
    blocks = [_block(head_map, kind) for kind in head_map.layout.kinds()]
    return "\n\n".join([*blocks, _summary(head_map)])


def render_counts(head_map: HeadMap) -> str:
    """How many heads each layer keeps, one line a kind of site."""
    lines = ["heads kept per layer:"]
    for kind in head_map.layout.kinds():
        counts = [len(heads) for site, heads in head_map.kept.items() if site.kind == kind]
        lines.append(f"  {kind:<14} {' '.join(map(str, counts))}   of {head_map.count(kind)[1]}")
    return "\n".join(lines)


def _block(head_map: HeadMap, kind: str) -> str:
    layout, kept = head_map.layout, head_map.kept
    cells = {site: values for site, values in _cells(head_map) if site.kind == kind}
    width = max(len(cell) for values in cells.values() for cell in values)
    columns = max(len(values) for values in cells.values())
    done, of = head_map.count(kind)
    lines = [
        f"{kind}: {done} of {of} heads kept",
        "  layer" + "".join(f"  {f'h{head}':>{width - 1}} " for head in range(columns)) + "   kept",
    ]
    for site in layout.sites:
        if site.kind == kind:
            row = "".join(f"  {cell:>{width}}" for cell in cells[site])
            lines.append(f"  {site.layer:>5}{row}  {len(kept[site]):>5}")
    return "\n".join(lines)


def _cells(head_map: HeadMap) -> Iterator[tuple[Site, list[str]]]:
    """Per site, its heads in text: ``[+1.23]`` is kept and `` -0.40 `` is closed."""
    importance, kept = head_map.importance, head_map.kept
    width = 1
    if importance is not None:
        width = max(len(f"{value:+.2f}") for value in importance.tolist())
    for site in head_map.layout.sites:
        cut = head_map.layout.slice(site)
        if importance is None:
            texts = ["x" if head in kept[site] else "." for head in range(cut.stop - cut.start)]
        else:
            texts = [f"{value:+.2f}" for value in importance[cut].tolist()]
        yield (
            site,
            [
                f"[{text:>{width}}]" if head in kept[site] else f" {text:>{width}} "
                for head, text in enumerate(texts)
            ],
        )


def _summary(head_map: HeadMap) -> str:
    parts = [f"{head_map.budget} of {head_map.layout.num_heads} heads kept, in [brackets]"]
    parts.append(standing(head_map))
    if head_map.margin is not None:
        k = head_map.budget
        parts.append(
            f"margin {head_map.margin:.4g} (importance ranked {k} less that ranked {k + 1})"
        )
    return "; ".join(parts)


def standing(head_map: HeadMap) -> str:
    """Whether the choice is final, in words."""
    if head_map.frozen:
        return "frozen"
    if head_map.budget in (0, head_map.layout.num_heads):
        return "a budget without a choice"
    return "not frozen: the top by importance so far"


def to_json(head_map: HeadMap) -> dict[str, Any]:
    """What ``--json`` writes; a site's importance is null where the model has none."""
    kept, importance = head_map.kept, head_map.importance
    return {
        "budget": head_map.budget,
        "num_heads": head_map.layout.num_heads,
        "frozen": head_map.frozen,
        "sites": [
            {
                "kind": site.kind,
                "layer": site.layer,
                "kept": kept[site],
                "importance": None
                if importance is None
                else importance[head_map.layout.slice(site)].tolist(),
            }
            for site in head_map.layout.sites
        ],
    }
