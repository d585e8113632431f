"""The pictures of a sweep, readable in grey: lightness, marker and dashes all tell lines apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..analysis.head_plot import INK, LOOK, Panel, draw_panels, plain
from ..experiments.logs import Curve
from ..experiments.results import FinishedRun, groups, heads_kept, spread

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

SURVIVAL = "Blues"
MOST_BANDS = 3  # with more methods, their ranges over seeds would hide each other

Styles = Mapping[str, Mapping[str, Any]]
AXES_LOOK: dict[Any, Any] = {
    **LOOK,
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#808080"},
    **{"axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e6e6e6", "axes.axisbelow": True},
    **{"axes.labelsize": 10, "axes.titlesize": 10.5, "xtick.labelsize": 9, "ytick.labelsize": 9},
    **{"axes.labelpad": 4, "axes.titlepad": 6, "lines.linewidth": 1.7},
    **{"legend.frameon": False, "legend.fontsize": 9.5},
}


def styles_of(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line styles by method: the same one in every picture of a report."""
    result = {}
    for i, method in enumerate(sorted(set(methods))):
        colour, marker, _ = STYLES[i % len(STYLES)]
        # From the seventh on, dashes move on by one so that no pair of the three comes twice.
        dashes = STYLES[(i + i // len(STYLES)) % len(STYLES)][2]
        result[method] = {
            **{"color": colour, "marker": marker, "linestyle": dashes},
            **{"markeredgecolor": "white", "markeredgewidth": 0.7},
        }
    return result


def _sheet(width: float, height: float, styles: Styles, extra: Sequence[Line2D] = ()) -> Figure:
    """An empty figure, in inches, with the legend of its methods below."""
    handles = [Line2D([], [], **style, label=plain(name)) for name, style in styles.items()]
    handles += extra
    rows = -(-len(handles) // 4)
    figure = Figure(figsize=(width, height + 0.22 * rows), layout="constrained")
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(4, len(handles)), handlelength=3.6
    )
    return figure


@matplotlib.rc_context(AXES_LOOK)
def score_against_heads(
    runs: Sequence[FinishedRun], dense: Sequence[FinishedRun], styles: Styles
) -> Figure:
    """One line a method, error bars of one standard deviation over seeds, and the dense line."""
    methods = sorted({run.method for run in runs})
    by_group = groups(runs)
    # Within a budget in cost the number of heads differs by seed.
    heads = {key: fmean(run.budget for run in group) for key, group in by_group.items()}
    budgets = sorted({round(mean) for mean in heads.values()})
    num_heads = runs[0].num_heads
    level = spread(run.score() for run in dense) if dense else None
    label = f"dense, {num_heads} heads: {level.mean:.2f}" if level else ""
    line = [Line2D([], [], color="#000000", label=label)] if level else []
    figure = _sheet(7.2, 4.3, {method: styles[method] for method in methods}, line)
    axes = figure.add_subplot()
    gaps = np.diff(sorted({*budgets, num_heads}))
    step = min([*gaps, num_heads / 6]) * min(0.06, 0.4 / len(methods))
    for i, method in enumerate(methods):
        # A step aside, so that error bars do not hide each other.
        aside = (i - (len(methods) - 1) / 2) * step
        # Budgets in heads and in cost are a line each.
        for in_cost in (False, True):
            points = {
                (name, budget): spread(run.score() for run in group)
                for (name, budget), group in by_group.items()
                if (name, budget[0]) == (method, in_cost)
            }
            if not points:
                continue
            axes.errorbar(
                [heads[key] + aside for key in points],
                [value.mean for value in points.values()],
                yerr=[value.deviation or 0.0 for value in points.values()],
                **styles[method], markersize=7, elinewidth=1.3, capsize=3.5, zorder=3,
            )  # fmt: skip
            for (name, (_, limit)), value in points.items() if in_cost else ():
                axes.annotate(
                    f"C = {limit:.12g}",
                    (heads[name, (in_cost, limit)] + aside, value.mean),
                    (6, 6),
                    textcoords="offset points",
                    fontsize=8,
                    zorder=4,
                )
    if level:
        low, high = (level.mean + sign * (level.deviation or 0.0) for sign in (-1, 1))
        axes.axhspan(low, high, color="#000000", alpha=0.13, linewidth=0)
        axes.axhline(level.mean, color="#000000", linewidth=1.4, zorder=2)
    axes.set_xticks(sorted({*budgets, num_heads}))
    margin = max(0.05 * num_heads, step * len(methods) / 2)
    axes.set_xlim(min(budgets) - margin, num_heads + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.margins(y=0.08)
    axes.set_xlabel(f"heads kept, of {num_heads}")
    axes.set_ylabel(f"{runs[0].evaluation.title}, test")
    return figure


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


def head_survival(by_method: Mapping[str, Sequence[FinishedRun]]) -> Figure:
    """One panel a method: the darker a head, the more of the runs keep it."""
    seeds = {method: len(runs) for method, runs in by_method.items()}
    panels = []
    for method, runs in by_method.items():
        shares = survival(runs)
        counts = {kind: f"{share.sum():.1f} of {share.size}" for kind, share in shares.items()}
        note = f"{len(runs)} seed{'' if len(runs) == 1 else 's'}"
        panels.append(Panel(method, note, shares, counts))
    # One colour for each number of seeds where there are few, and as many for each method.
    few = len(set(seeds.values())) == 1 and max(seeds.values()) < 10
    steps = max(seeds.values()) if few else 10
    scale = ScalarMappable(BoundaryNorm((np.arange(steps + 2) - 0.5) / steps, 256), SURVIVAL)
    cell = min(0.27, max(0.14, 4.2 / sum(s.shape[1] for s in panels[0].values.values())))

    def numbers(axes: Axes, panel: Panel, kind: str) -> None:
        for (layer, head), share in np.ndenumerate(panel.values[kind]):
            number = round(share * seeds[panel.name])
            if number and seeds[panel.name] < 10 and cell >= 0.18:
                axes.text(
                    head, layer, str(number), ha="center", va="center_baseline",
                    fontsize=7.5, color="white" if share > 0.55 else INK,
                )  # fmt: skip

    everyone = [run for runs in by_method.values() for run in runs]
    kept = heads_kept(everyone, f" of {everyone[0].num_heads} heads kept")
    title = f"{kept}: how often each head survives"
    figure = draw_panels(panels, title, cell, scale, "of the seeds keep it", numbers)
    bar = figure.axes[-1]
    bar.minorticks_off()
    bar.set_xticks(np.linspace(0, 1, steps + 1 if steps < 6 else 6))
    bar.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


# ---- training curves


@matplotlib.rc_context(AXES_LOOK)
def training_curves(curves: Mapping[str, Mapping[str, Sequence[Curve]]], styles: Styles) -> Figure:
    """Temperature and margin against updates, one column a budget, one line a method.

    Args:
        curves: budget, in words -> method -> the curve of each seed.
        styles: of :func:`styles_of`.
    """
    methods = sorted({method for by_method in curves.values() for method in by_method})
    own = {method: styles[method] for method in methods}
    figure = _sheet(max(2.35 * len(curves) + 0.7, 5.4), 4.6, own)
    grid = figure.subplots(2, len(curves), sharex="col", sharey="row", squeeze=False)
    for (budget, by_method), (upper, lower) in zip(curves.items(), grid.T, strict=True):
        schedules = {(c.updates, c.temperature) for seeds in by_method.values() for c in seeds}
        if len(schedules) == 1:  # one line stands for all
            upper.plot(*schedules.pop(), color="#000000")
        for method, seeds in sorted(by_method.items()):
            if schedules:
                _draw_mean(upper, seeds, "temperature", own[method], band=False)
            _draw_mean(lower, seeds, "margin", own[method], len(methods) <= MOST_BANDS)
        upper.set_title(budget)
        frozen = {c.frozen_at for seeds in by_method.values() for c in seeds if c.frozen_at}
        for axes in (upper, lower):
            for update in frozen:
                axes.axvline(update, color="#606060", linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        lower.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        lower.set_xlabel("updates")
        if frozen:
            upper.annotate(
                "freeze", (max(frozen), 1), xycoords=("data", "axes fraction"), xytext=(3, -1),
                textcoords="offset points", va="top", fontsize=8,
            )  # fmt: skip
    temperature, margin = grid[:, 0]
    temperature.set_yscale("log")
    temperature.minorticks_off()
    temperature.set_ylabel("temperature")
    margin.set_ylabel("margin")
    margin.set_ylim(bottom=0)
    return figure


def _draw_mean(
    axes: Axes, seeds: Sequence[Curve], value: str, style: Mapping[str, Any], band: bool
) -> None:
    """The mean over seeds, and their range as a band."""
    last = min(curve.updates[-1] for curve in seeds)
    updates = sorted({update for curve in seeds for update in curve.updates if update <= last})
    values = np.stack([np.interp(updates, c.updates, getattr(c, value)) for c in seeds])
    every = max(1, len(updates) // 6)
    axes.plot(updates, values.mean(0), **style, markersize=5, markevery=every, zorder=3)
    if band and len(seeds) > 1:
        low, high = values.min(0), values.max(0)
        axes.fill_between(updates, low, high, color=style["color"], alpha=0.15, linewidth=0)
