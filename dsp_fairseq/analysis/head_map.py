"""Which attention heads a checkpoint keeps, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..heads.head_map import HeadMap
from ..heads.layout import Site


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
    if head_map.cost_budget is not None:
        limit, total = (float(x) for x in (head_map.cost_budget.limit, head_map.cost_budget.total))
        parts.append(f"they cost {head_map.cost:g}, at most {limit:g} of {total:g}")
    parts.append(head_map.standing)
    if head_map.margin is not None:
        k = head_map.budget
        what = f"importance ranked {k} less that ranked {k + 1}"
        if head_map.cost_budget is not None:
            what = "importance per cost of the last paid for less that of the next"
        parts.append(f"margin {head_map.margin:.4g} ({what})")
    return "; ".join(parts)


def _costs(head_map: HeadMap) -> dict[str, float | None]:
    if head_map.cost_budget is None:
        return {}
    return {"cost": head_map.cost, "cost_budget": float(head_map.cost_budget.limit)}


def to_json(head_map: HeadMap) -> dict[str, Any]:
    """What ``--json`` writes; a site's importance is null where the model has none."""
    kept, importance = head_map.kept, head_map.importance
    return {
        "budget": head_map.budget,
        "num_heads": head_map.layout.num_heads,
        **_costs(head_map),
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
