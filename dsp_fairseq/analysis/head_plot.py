"""The drawing of head maps, of a checkpoint or of many: one row a layer, one column a head."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..errors import importing
from ..heads.head_map import HeadMap
from ..heads.layout import HeadLayout

# fairseq's import sets the root logger to DEBUG, and matplotlib then tells of every font.
logging.getLogger("matplotlib").setLevel(logging.WARNING)
with importing("matplotlib"):
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1a1a1a"
LOOK: dict[Any, Any] = {
    **{"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK},
    **{"axes.labelsize": 8.5, "axes.titlesize": 8.5, "xtick.labelsize": 8, "ytick.labelsize": 8},
    **{"axes.edgecolor": "#c8c8c8", "xtick.major.pad": 2, "ytick.major.pad": 2},
    **{"axes.labelpad": 1.5, "axes.titlepad": 3, "xtick.major.size": 2, "ytick.major.size": 2},
}
"""Settings of matplotlib."""

FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""By suffix, what keeps dates and versions out of a file: one figure gives the same bytes."""

# In inches: of a panel, of the space between two of them, and of the sheet.
LEFT, GAP, ABOVE, BELOW = 0.5, 0.3, 0.62, 0.5
BETWEEN, TITLE, BAR, SIDE = 0.55, 0.5, 0.72, 0.2


@dataclass(frozen=True)
class Panel:
    """The maps of one model, or of the runs of one method.

    Attributes:
        name: its title.
        note: stands at the right of the title.
        values: kind of site -> what the colours show, ``[layers, heads]``; NaN for no head.
        counts: kind of site -> how many heads are kept, in words.
        kept: kind of site -> whether a head is kept, ``[layers, heads]``; the others are drawn
            as small squares. Without it all squares are large.
    """

    name: str
    note: str
    values: Mapping[str, np.ndarray]
    counts: Mapping[str, str]
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)


@matplotlib.rc_context(LOOK)
def draw_panels(
    panels: Sequence[Panel],
    title: str,
    cell: float,
    scale: ScalarMappable,
    bar_label: str,
    mark: Callable[[Axes, Panel, str], None],
) -> Figure:
    """One map a kind of site in each panel; cells are equal squares in all of them.

    Args:
        panels: of models of one shape.
        title: of the whole.
        cell: the side of a square in inches.
        scale: from values to colours.
        bar_label: what the colours mean; no bar of colours without it.
        mark: called with the axes of a map, its panel and its kind, to write into the squares.
    """
    shapes = {kind: values.shape for kind, values in panels[0].values.items()}
    slots = {kind: max(n * cell, 1.0) for kind, (_, n) in shapes.items()}
    wide = LEFT + sum(slots.values()) + GAP * (len(slots) - 1)
    high = ABOVE + max(layers for layers, _ in shapes.values()) * cell + BELOW
    across = 2 if len(panels) > 1 and wide < 6 else 1
    used = across * wide + (across - 1) * BETWEEN
    width = max(used + 2 * SIDE, 4.8)
    height = TITLE + -(-len(panels) // across) * high + BAR
    figure = Figure(figsize=(width, height))

    # In inches from the upper left corner, so that sizes do not depend on the number of maps.
    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, plain(text), va="top", **style)

    write(width / 2, 0.12, title, ha="center", fontsize=12)
    for index, panel in enumerate(panels):
        row, column = divmod(index, across)
        x, y = (width - used) / 2 + column * (wide + BETWEEN), TITLE + row * high
        write(x + LEFT, y + 0.06, panel.name, fontsize=10.5, fontweight="bold")
        write(x + wide, y + 0.06, panel.note, ha="right", fontsize=9)
        x += LEFT
        for kind, (layers, n) in shapes.items():
            axes = place(x, y + ABOVE, n * cell, layers * cell)
            _draw_map(axes, panel, kind, scale, cell)
            mark(axes, panel, kind)
            x += slots[kind] + GAP
    if bar_label:
        bar = place((width - 2.6) / 2, height - 0.55, 2.6, 0.13)
        figure.colorbar(scale, cax=bar, orientation="horizontal", label=bar_label)
    return figure


def _draw_map(axes: Axes, panel: Panel, kind: str, scale: Any, cell: float) -> None:
    values = panel.values[kind]
    layers, n = values.shape
    y, x = np.nonzero(~np.isnan(values))
    share = np.where(panel.kept[kind], 0.94, 0.46) if kind in panel.kept else np.ones(values.shape)
    axes.scatter(
        x, y, c=values[y, x], s=(72 * cell * share[y, x]) ** 2, marker="s",
        cmap=scale.cmap, norm=scale.norm, edgecolors="#d0d0d0", linewidths=0.6,
    )  # fmt: skip
    axes.set(xlim=(-0.5, n - 0.5), ylim=(layers - 0.5, -0.5), yticks=range(layers), xlabel="head")
    axes.set_xticks(range(0, n, 1 if n <= 8 or cell > 0.2 else 2))
    axes.tick_params(length=0)
    axes.set_title(f"{kind}\n{panel.counts[kind]}")
    if kind == next(iter(panel.values)):
        axes.set_ylabel("layer")


def plot_head_map(head_map: HeadMap) -> Figure:
    """Importance as colour; kept heads are large squares with a dot, closed ones small."""
    layout, importance = head_map.layout, head_map.importance
    shown = head_map.mask if importance is None else importance
    values = _by_kind(layout, shown)
    kept = {kind: mask > 0 for kind, mask in _by_kind(layout, head_map.mask).items()}
    low, high = float(shown.min()), float(shown.max())
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    scale = ScalarMappable(Normalize(low, high), "viridis")
    if importance is None:
        scale = ScalarMappable(Normalize(-0.4, 1.4), "Greys")
    cell = min(0.42, max(0.24, 12 / sum(maps.shape[1] for maps in values.values())))

    def dots(axes: Axes, panel: Panel, kind: str) -> None:
        y, x = np.nonzero(panel.kept[kind])
        size = 72 * cell * 0.3
        axes.plot(x, y, "ow", markeredgecolor="black", markeredgewidth=0.8, markersize=size)

    counts = {kind: "{} of {}".format(*head_map.count(kind)) for kind in values}
    panel = Panel(head_map.standing, "○ kept, ▪ closed", values, counts, kept)
    title = f"{head_map.budget} of {layout.num_heads} heads kept"
    label = "" if importance is None else "importance"
    return draw_panels([panel], title, cell, scale, label, dots)


def _by_kind(layout: HeadLayout, vector: Tensor) -> dict[str, np.ndarray]:
    """A vector ``[N]`` as kind of site -> ``[layers, heads]``, NaN where a layer has fewer."""
    parts = layout.split(vector)
    maps = {}
    for kind in layout.kinds():
        rows = [part.numpy() for site, part in parts.items() if site.kind == kind]
        maps[kind] = np.full((len(rows), max(map(len, rows))), np.nan)
        for layer, row in enumerate(rows):
            maps[kind][layer, : len(row)] = row
    return maps


def render_plot(head_map: HeadMap, suffix: str) -> bytes:
    """The picture of a head map as the content of a file; see :func:`plot_head_map`."""
    return render(plot_head_map(head_map), suffix)


def render(figure: Figure, suffix: str) -> bytes:
    """A file's content, in a format of :data:`FORMATS`."""
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dsp_fairseq"}):
        undated = FORMATS[suffix]
        figure.savefig(content, format=suffix[1:], dpi=160, metadata=undated, bbox_inches="tight")
    return content.getvalue()


def plain(text: str) -> str:
    """A text as it stands: matplotlib would set what is between dollars as a formula."""
    return text.replace("$", r"\$")
