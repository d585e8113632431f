"""The pictures of a sweep, readable in grey: lightness, marker and dashes all tell lines apart."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import PruningError
from ..experiments.logs import Curve
from ..experiments.results import FinishedRun, groups, spread

# fairseq's import sets the root logger to DEBUG, and matplotlib then tells of every font.
logging.getLogger("matplotlib").setLevel(logging.WARNING)
try:
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise PruningError(f"the figures need matplotlib ({error}): pip install matplotlib") from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = (
    ("#332288", "o", "-"),
    ("#D55E00", "s", (0, (5, 1.5))),
    ("#44AA99", "^", (0, (6, 1.5, 1, 1.5))),
    ("#882255", "D", (0, (1.2, 1.2))),
    ("#E69F00", "v", (0, (8, 2, 1, 2, 1, 2))),
    ("#0072B2", "P", (0, (3, 1))),
)
"""Colour, marker and dashes of a method; CIE lightness 22, 54, 64, 32, 71 and 46, from the
palettes of Okabe and Ito and of Tol, which colour-blind people tell apart."""

INK, FAINT = "#1a1a1a", "#c8c8c8"
SURVIVAL = "Blues"
RESOLUTION = 160  # dots per inch of the PNG
MOST_BANDS = 3  # with more methods, their ranges over seeds would hide each other


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: of its files, without suffix.
        title: in a few words.
        caption: how to read it.
        figure: matplotlib's.
    """

    name: str
    title: str
    caption: str
    figure: Figure

    def render(self, suffix: str) -> bytes:
        """The file's content, ``svg`` or ``png``; the same figure always gives the same bytes."""
        undated: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}[suffix]
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "dsp-report"}):
            self.figure.savefig(
                content, format=suffix, dpi=RESOLUTION, metadata=undated, bbox_inches="tight"
            )
        return content.getvalue()


def styles_of(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line styles by method: the same one in every picture of a report."""
    result = {}
    for i, method in enumerate(sorted(set(methods))):
        colour, marker, _ = STYLES[i % len(STYLES)]
        # From the seventh on, dashes move on by one so that no pair of the three comes twice.
        dashes = STYLES[(i + i // len(STYLES)) % len(STYLES)][2]
        result[method] = {"color": colour, "marker": marker, "linestyle": dashes}
    return result


def _text(name: str) -> str:
    """A name as it stands: matplotlib would set what is between dollars as a formula."""
    return name.replace("$", r"\$")


def _handle(method: str, style: Mapping[str, Any]) -> Line2D:
    return Line2D([], [], **style, linewidth=1.8, markersize=7, label=_text(method))


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#808080")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=3)


# ---- BLEU against heads


def bleu_against_heads(
    runs: Sequence[FinishedRun],
    dense: Sequence[FinishedRun],
    styles: Mapping[str, Mapping[str, Any]],
) -> Figure:
    """One line a method, error bars of one standard deviation over seeds, and the dense line."""
    methods = sorted({run.method for run in runs})
    budgets = sorted({run.budget for run in runs})
    num_heads = max(run.num_heads for run in runs)
    rows = -(-(len(methods) + bool(dense)) // 4)
    figure = Figure(figsize=(7.2, 4.3 + 0.22 * rows), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    _tidy(axes)
    gaps = np.diff([*budgets, num_heads])
    gap = min([gap for gap in gaps if gap > 0] + [num_heads / 6])
    step = gap * min(0.06, 0.4 / len(methods))
    handles = []
    for i, method in enumerate(methods):
        points = [
            (k, spread(run.score("sacrebleu") for run in group))
            for (name, k), group in groups(runs).items()
            if name == method
        ]
        # A step aside, so that error bars do not hide each other.
        aside = (i - (len(methods) - 1) / 2) * step
        axes.errorbar(
            [k + aside for k, _ in points],
            [value.mean for _, value in points],
            yerr=[value.deviation or 0.0 for _, value in points],
            **styles[method],
            linewidth=1.8,
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.8,
            elinewidth=1.3,
            capsize=3.5,
            zorder=3,
        )
        handles.append(_handle(method, styles[method]))
    if dense:
        value = spread(run.score("sacrebleu") for run in dense)
        if value.deviation:
            low, high = value.mean - value.deviation, value.mean + value.deviation
            axes.axhspan(low, high, color="#000000", alpha=0.13, linewidth=0)
        axes.axhline(value.mean, color="#000000", linewidth=1.4, zorder=2)
        label = f"dense, {num_heads} heads: {value.mean:.2f}"
        handles.append(Line2D([], [], color="#000000", linewidth=1.4, label=label))
    axes.set_xticks(sorted({*budgets, num_heads}))
    margin = max(0.05 * num_heads, step * len(methods) / 2)
    axes.set_xlim(min(budgets) - margin, num_heads + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.margins(y=0.08)
    axes.set_xlabel(f"heads kept, of {num_heads}", fontsize=10.5, color=INK)
    axes.set_ylabel("sacreBLEU, test", fontsize=10.5, color=INK)
    _legend_below(figure, handles)
    return figure


def _legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(4, len(handles)),
        frameon=False,
        fontsize=9.5,
        handlelength=3.6,
    )


# ---- head survival


def survival(runs: Sequence[FinishedRun]) -> dict[str, np.ndarray]:
    """How often each head survives: kind of site -> share of the runs, ``[layers, heads]``."""
    shares: dict[str, np.ndarray] = {}
    for run in runs:
        for kind, layers in run.kept.items():
            share = shares.setdefault(kind, np.zeros((len(layers), run.heads_per_layer[kind])))
            for layer, heads in enumerate(layers):
                share[layer, list(heads)] += 1 / len(runs)
    return shares


def head_survival(
    by_method: Mapping[str, Sequence[FinishedRun]], budget: int, num_heads: int
) -> Figure:
    """One panel a method; in it one map a kind of site, one row a layer and one column a head."""
    maps = {method: survival(runs) for method, runs in by_method.items()}
    shapes = {kind: share.shape for kind, share in next(iter(maps.values())).items()}
    kinds = list(shapes)
    seeds = {len(runs) for runs in by_method.values()}

    # Everything is placed in inches, so that cells are equal squares in all panels.
    heads = sum(shape[1] for shape in shapes.values())
    cell = min(0.27, max(0.14, 4.2 / heads))
    across = 2 if len(maps) > 1 and heads * cell < 4.6 else 1
    down = -(-len(maps) // across)
    left, gap, head_room, foot, between = 0.5, 0.3, 0.62, 0.5, 0.55
    slots = {kind: max(shapes[kind][1] * cell, 1.0) for kind in kinds}
    panel_width = left + sum(slots.values()) + gap * (len(kinds) - 1)
    panel_height = head_room + max(shape[0] for shape in shapes.values()) * cell + foot
    width = max(0.15 + across * panel_width + (across - 1) * between + 0.25, 4.8)
    top, bottom = 0.5, 0.72
    height = top + down * panel_height + bottom
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.suptitle(
        f"{budget} of {num_heads} heads kept: how often each head survives",
        y=1 - 0.12 / height, va="top", fontsize=12, color=INK,
    )  # fmt: skip
    # One colour for each number of seeds where there are few, and as many for each method.
    levels = max(seeds) + 1 if len(seeds) == 1 and max(seeds) < 10 else 11
    edges = np.linspace(-0.5 / (levels - 1), 1 + 0.5 / (levels - 1), levels + 1)
    norm = BoundaryNorm(edges, 256)
    scale = ScalarMappable(norm, SURVIVAL)

    for index, (method, runs) in enumerate(by_method.items()):
        row, column = divmod(index, across)
        x = 0.15 + column * (panel_width + between)
        y = height - top - row * panel_height
        plural = "" if len(runs) == 1 else "s"
        figure.text(
            (x + left) / width, (y - 0.08) / height, _text(method),
            va="top", fontsize=11, fontweight="bold", color=INK,
        )  # fmt: skip
        figure.text(
            (x + panel_width) / width, (y - 0.08) / height, f"{len(runs)} seed{plural}",
            va="top", ha="right", fontsize=9, color=INK,
        )  # fmt: skip
        x += left
        for kind in kinds:
            layers, n = shapes[kind]
            axes = figure.add_axes(
                (x / width, (y - head_room - layers * cell) / height,
                 n * cell / width, layers * cell / height)
            )  # fmt: skip
            _draw_map(axes, maps[method][kind], len(runs), cell, norm)
            kept = maps[method][kind].sum()
            axes.set_title(f"{kind}\n{kept:.1f} of {layers * n}", fontsize=8.5, color=INK, pad=3)
            if kind == kinds[0]:
                axes.set_ylabel("layer", fontsize=9, color=INK)
            else:
                axes.set_yticklabels([])
            axes.set_xlabel("head", fontsize=8.5, color=INK, labelpad=1)
            x += slots[kind] + gap

    bar = figure.add_axes(((width - 2.6) / 2 / width, 0.42 / height, 2.6 / width, 0.13 / height))
    colours = figure.colorbar(scale, cax=bar, orientation="horizontal")
    ticks = np.linspace(0, 1, levels if levels <= 6 else 6).tolist()
    colours.set_ticks(ticks, labels=[f"{tick:.0%}" for tick in ticks])
    colours.ax.tick_params(labelsize=8, length=2, colors=INK)
    colours.ax.spines["outline"].set_color(FAINT)
    colours.set_label("of the seeds keep it", fontsize=9, color=INK, labelpad=1)
    return figure


def _draw_map(axes: Axes, shares: np.ndarray, seeds: int, cell: float, norm: BoundaryNorm) -> None:
    layers, n = shares.shape
    axes.pcolormesh(
        np.arange(n + 1) - 0.5, np.arange(layers + 1) - 0.5, shares,
        cmap=SURVIVAL, norm=norm, edgecolors="#d0d0d0", linewidth=0.8,
    )  # fmt: skip
    if seeds < 10 and cell >= 0.18:
        for (layer, head), share in np.ndenumerate(shares):
            count = round(share * seeds)
            if count:
                axes.text(
                    head, layer, str(count), ha="center", va="center_baseline", fontsize=7.5,
                    color="white" if share > 0.55 else INK,
                )  # fmt: skip
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(layers - 0.5, -0.5)
    every = 1 if n <= 8 else 2
    axes.set_xticks(range(0, n, every))
    axes.set_yticks(range(layers))
    axes.tick_params(length=0, labelsize=8, colors=INK, pad=2)
    axes.spines[:].set_color(FAINT)


# ---- training curves


def training_curves(
    curves: Mapping[int, Mapping[str, Sequence[Curve]]], styles: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Temperature and margin against updates, one column a budget, one line a method.

    Args:
        curves: budget -> method -> the curve of each seed.
        styles: of :func:`styles_of`.
    """
    columns = len(curves)
    methods = sorted({method for by_method in curves.values() for method in by_method})
    rows = -(-len(methods) // 4)
    handles = [_handle(method, styles[method]) for method in methods]
    figure = Figure(
        figsize=(max(2.35 * columns + 0.7, 5.4), 4.6 + 0.22 * rows),
        facecolor="white",
        layout="constrained",
    )
    grid = figure.subplots(2, columns, sharex="col", sharey="row", squeeze=False)
    for axes in grid.flat:
        _tidy(axes)
    for column, (budget, by_method) in enumerate(sorted(curves.items())):
        _draw_temperature(grid[0, column], by_method, styles)
        for method, seeds in sorted(by_method.items()):
            _draw_mean(grid[1, column], seeds, "margin", styles[method], len(methods) <= MOST_BANDS)
        plural = "" if budget == 1 else "s"
        grid[0, column].set_title(f"{budget} head{plural}", fontsize=10.5, color=INK)
        frozen = {c.frozen_at for seeds in by_method.values() for c in seeds if c.frozen_at}
        for axes in grid[:, column]:
            for update in frozen:
                axes.axvline(update, color="#606060", linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        grid[1, column].xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        grid[1, column].set_xlabel("updates", fontsize=10, color=INK)
        if frozen:
            grid[0, column].annotate(
                "freeze", (max(frozen), 1), xycoords=("data", "axes fraction"), xytext=(3, -1),
                textcoords="offset points", va="top", fontsize=8, color="#404040",
            )  # fmt: skip
    grid[0, 0].set_yscale("log")
    grid[0, 0].minorticks_off()
    grid[0, 0].set_ylabel("temperature", fontsize=10, color=INK)
    grid[1, 0].set_ylabel("margin", fontsize=10, color=INK)
    grid[1, 0].set_ylim(bottom=0)
    _legend_below(figure, handles)
    return figure


def _draw_temperature(
    axes: Axes, by_method: Mapping[str, Sequence[Curve]], styles: Mapping[str, Mapping[str, Any]]
) -> None:
    schedules = {(c.updates, c.temperature) for seeds in by_method.values() for c in seeds}
    if len(schedules) == 1:
        updates, temperature = schedules.pop()
        axes.plot(updates, temperature, color="#000000", linewidth=1.6)
        return
    for method, seeds in sorted(by_method.items()):
        _draw_mean(axes, seeds, "temperature", styles[method], band=False)


def _draw_mean(
    axes: Axes, seeds: Sequence[Curve], value: str, style: Mapping[str, Any], band: bool
) -> None:
    """The mean over seeds, and their range as a band."""
    last = min(curve.updates[-1] for curve in seeds)
    updates = sorted({update for curve in seeds for update in curve.updates if update <= last})
    values = np.stack([np.interp(updates, c.updates, getattr(c, value)) for c in seeds])
    axes.plot(
        updates, values.mean(0), **style, linewidth=1.6, markersize=5, markeredgecolor="white",
        markeredgewidth=0.6, markevery=max(1, len(updates) // 6), zorder=3,
    )  # fmt: skip
    if band and len(seeds) > 1:
        axes.fill_between(
            updates, values.min(0), values.max(0),
            color=style["color"], alpha=0.15, linewidth=0,
        )  # fmt: skip
