"""What the figures of a report show."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, stdev
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from made_up_sweep import make_sweep
from matplotlib.colors import to_rgb
from report_helpers import give_costs

from dsp_fairseq.analysis.head_plot import render
from dsp_fairseq.experiments.logs import Curve, read_curve
from dsp_fairseq.experiments.results import dense_runs, groups, read_sweep
from dsp_fairseq.report import figures


def test_the_curve_shows_means_and_deviations(written):
    sweep = read_sweep(written[0])
    runs = [run for run in sweep.runs if not run.is_dense]
    dense = dense_runs(sweep, "multi30k-joint")
    styles = figures.styles_of([run.method for run in runs])
    axes = figures.score_against_heads(runs, dense, styles).axes[0]
    assert len(axes.containers) == 2
    for container, method in zip(axes.containers, ("gumbel", "ste"), strict=True):
        line, _, (bars,) = container.lines
        for i, budget in enumerate((6, 12)):
            scores = [run.score("sacrebleu") for run in groups(runs)[method, (False, budget)]]
            assert line.get_ydata()[i] == pytest.approx(fmean(scores))
            assert line.get_xdata()[i] == pytest.approx(budget, abs=0.5)
            low, high = bars.get_segments()[i][:, 1]
            assert (high - low) / 2 == pytest.approx(stdev(scores))
    levels = [line.get_ydata()[0] for line in axes.lines if line.get_color() == "#000000"]
    assert levels == [dense[0].score("sacrebleu")]
    assert list(axes.get_xticks()) == [6, 12, 48]


def test_a_budget_in_cost_stands_at_its_mean_number_of_heads(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("by-cost",), (20, 23), sentences=8)
    give_costs(sweep)
    runs = [run for run in read_sweep(sweep).runs if not run.is_dense]
    axes = figures.score_against_heads(runs, [], figures.styles_of(["by-cost"])).axes[0]
    assert list(axes.containers[0].lines[0].get_xdata()) == [21, 22]
    assert list(axes.get_xticks()) == [21, 22, 48]
    assert [text.get_text() for text in axes.texts] == ["C = 13", "C = 14"]
    chosen = {"by-cost": [run for run in runs if run.cost_budget == 13]}
    texts = [text.get_text() for text in figures.head_survival(chosen).texts]
    assert "20–23 of 48 heads kept, C = 13: how often each head survives" in texts


def test_budgets_in_heads_and_in_cost_are_a_line_each(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("a",), (6, 12, 20), sentences=8)
    runs = [run for run in read_sweep(sweep).runs if not run.is_dense]
    runs = [replace(run, cost_budget=13.0) if run.budget == 12 else run for run in runs]
    lines = figures.score_against_heads(runs, [], figures.styles_of(["a"])).axes[0].containers
    assert [list(line.lines[0].get_xdata()) for line in lines] == [[6, 20], [12]]


def test_survival_counts_the_seeds_that_keep_a_head(written):
    runs = [r for r in read_sweep(written[0]).runs if (r.method, r.budget) == ("ste", 12)]
    shares = figures.survival(runs)
    assert sum(share.sum() for share in shares.values()) == pytest.approx(12)
    for kind, share in shares.items():
        for (layer, head), value in np.ndenumerate(share):
            kept = sum(head in run.kept[kind][layer] for run in runs)
            assert value == pytest.approx(kept / 3)
    figure = figures.head_survival({"ste": runs})
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum(map(int, texts)) == 36


def test_shares_of_unequal_numbers_of_seeds_have_their_own_colours(written):
    runs = [run for run in read_sweep(written[0]).runs if run.budget == 12]
    by_method = {m: [r for r in runs if r.method == m] for m in ("gumbel", "ste")}
    colours = []
    for chosen in (by_method, {**by_method, "ste": by_method["ste"][:2]}):
        mesh = figures.head_survival(chosen).axes[0].collections[0]
        shares = (0, 1 / 3, 1 / 2, 2 / 3, 1)
        colours.append({share: tuple(mesh.cmap(mesh.norm(share))) for share in shares})
    assert len({colours[0][share] for share in (0, 1 / 3, 2 / 3, 1)}) == 4
    assert len(set(colours[1].values())) == 5


def test_one_black_line_stands_for_equal_temperatures(written):
    runs = [run for run in read_sweep(written[0]).runs if not run.is_dense]
    curves = {}
    for (method, (_, budget)), group in groups(runs).items():
        seeds = [read_curve(run.folder / "train.log") for run in group]
        curves.setdefault(f"{budget} heads", {})[method] = seeds
    axes = figures.training_curves(curves, figures.styles_of(["gumbel", "ste"])).axes
    temperature, margin = axes[0], axes[2]
    assert temperature.get_yscale() == "log"
    assert [panel.get_title() for panel in axes[:2]] == ["6 heads", "12 heads"]
    assert [line.get_color() for line in temperature.lines] == ["#000000", "#606060"]
    gumbel = next(line for line in margin.lines if line.get_color() == figures.STYLES[0][0])
    expected = fmean(curve.margin[-1] for curve in curves["6 heads"]["gumbel"])
    assert gumbel.get_ydata()[-1] == pytest.approx(expected)
    assert len(margin.collections) == 2


def test_temperatures_of_methods_that_differ_have_lines_of_their_own():
    def curve(temperature: float, margin: float) -> Curve:
        return Curve((1, 2), (1.0, temperature), (0.0, margin), 2)

    curves = {"6 heads": {"a": [curve(0.1, 1.0), curve(0.1, 3.0)], "b": [curve(0.01, 1.0)]}}
    figure = figures.training_curves(curves, figures.styles_of(["a", "b"]))
    upper, lower = ([line.get_ydata()[-1] for line in axes.lines[:2]] for axes in figure.axes)
    assert upper == [0.1, 0.01]
    assert lower == [2.0, 1.0]


def _lightness(colour) -> float:
    """CIE L* of a colour."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_lines_and_maps_are_told_apart_in_grey():
    order = sorted(_lightness(colour) for colour, _, _ in figures.STYLES)
    assert min(np.diff(order)) > 6
    assert order[-1] < 75
    steps = matplotlib.colormaps[figures.SURVIVAL](np.linspace(0, 1, 50))
    assert all(np.diff([_lightness(step) for step in steps]) < 0)
    many = figures.styles_of([f"m{i:02}" for i in range(24)])
    assert len({tuple(map(str, style.values())) for style in many.values()}) == 24


def test_figures_are_drawn_for_unequal_and_many_heads(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("a$b$c",), (60,), (1,), heads=16, layers=6, sentences=8)
    runs = [run for run in read_sweep(sweep).runs if not run.is_dense]
    figure = figures.head_survival({"a$b$c": runs})
    for suffix in (".svg", ".png"):
        assert render(figure, suffix)


def test_files_of_figures(written):
    folder = written[1]
    names = {path.stem for path in folder.glob("*.svg")}
    assert names == {f"multi30k-joint-{what}" for what in ("bleu", "heads-6", "heads-12",
                                                           "training")}  # fmt: skip
    for name in names:
        ElementTree.fromstring((folder / f"{name}.svg").read_text())
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"]({name}.png)" in (folder / "report.md").read_text()
