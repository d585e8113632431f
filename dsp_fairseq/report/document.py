"""From a sweep's lines to tables, figures and one HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from ..analysis.head_plot import render
from ..errors import PruningError
from ..evaluation.paired import SIGNIFICANT
from ..experiments.logs import Curve, read_curve
from ..experiments.record import RUN_FILE
from ..experiments.results import (
    Budget,
    FinishedRun,
    Sweep,
    groups,
    heads_kept,
    read_sweep,
    seeds_of,
)
from ..files import in_place_of
from . import figures
from .agreement import disagreements
from .columns import CONTESTS, RESULTS, RUNS, table, with_metrics
from .page import escape, to_html
from .significance import NO_RANKING, SEEDS_TO_RANK, Comparison, RecipeRuns, gather

GENERATOR = "dsp-report"


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its files without suffix, and a caption that says how to read it."""

    name: str
    title: str
    caption: str
    figure: Figure

    def __str__(self) -> str:
        return f"![{escape(self.title)}]({self.name}.png)\n\n{escape(self.caption)}"


Block = str | Picture
"""Markdown, or a picture that is written as such."""


def build_blocks(sweep: Sweep, recipes: Sequence[RecipeRuns]) -> Iterator[Block]:
    """The whole report, in the order of reading."""
    styles = figures.styles_of([run.method for run in sweep.runs if not run.is_dense])
    yield f"# Heads pruned: {escape(sweep.folder.resolve().name)}"
    yield _summary(sweep)
    prefixes: set[str] = set()
    for recipe in recipes:
        prefix = re.sub(r"[^A-Za-z0-9.-]+", "-", recipe.name).strip("-.") or "recipe"
        while prefix in prefixes:
            prefix += "-"
        prefixes.add(prefix)
        yield f"## Recipe {escape(recipe.name)}"
        if recipe.runs:
            yield _score_picture(recipe, prefix, styles)
        yield from _results(recipe)
        if recipe.runs:
            yield from _head_pictures(recipe, prefix)
            yield from _training_picture(recipe, prefix, styles)
        if different := list(disagreements(recipe, _place)):
            yield "### What does not compare"
            yield "\n".join(f"- {escape(item)}" for item in different)
        if missing := list(_missing(recipe)):
            yield "### What is missing"
            yield "\n".join(f"- {escape(item)}" for item in missing)
        yield "### Every run"
        yield table(with_metrics(RUNS, recipe.evaluation), _run_rows(recipe))


def _summary(sweep: Sweep) -> str:
    pruned = [run for run in sweep.runs if not run.is_dense]
    # One training may have made models of several budgets, each in a folder within its own.
    trainings = {}
    for run in sweep.runs:
        above = run.folder.parent
        trainings[above if (above / RUN_FILE).exists() else run.folder] = run.train_seconds
    minutes = sum(trainings.values()) / 60
    time = f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    chosen_by = " or ".join(sorted({run.evaluation.chosen_by for run in sweep.runs}))
    text = (
        f"{counted(len(pruned), 'pruned run')} and {len(sweep.runs) - len(pruned)} dense, trained "
        f"in {time} in all. Scores are of the test split, as mean ± sample standard "
        f"deviation over seeds; choose a budget and a method by the {chosen_by}."
    )
    if sweep.torn:
        text += " The last line of `runs.jsonl` is incomplete and was left out."
    return text


def _results(recipe: RecipeRuns) -> Iterator[Block]:
    by_group = [recipe.dense] if recipe.dense else []
    by_group += groups(recipe.runs).values()
    columns = with_metrics(RESULTS, recipe.evaluation)
    yield table(columns, [recipe.beside(recipe.dense, runs) for runs in by_group])
    yield from map(escape, _notes(recipe))
    if recipe.contests:
        yield "### Methods against each other"
        yield table(CONTESTS, recipe.contests)
        yield escape(
            "At each budget the method with the highest mean against the others, seed by "
            f"seed. One is called ahead only if it is so with p < {SIGNIFICANT} in every seed, "
            "of three or more; the values of p are not corrected for the number of tests."
        )


def _run_rows(recipe: RecipeRuns) -> Iterator[Comparison]:
    for run in (*recipe.dense, *recipe.runs):
        partner = None if run.is_dense else recipe.partner(run)
        yield recipe.beside([partner] if partner else [], [run])


def _notes(recipe: RecipeRuns) -> Iterator[str]:
    """What the numbers rest on."""
    scores = [split for run in (*recipe.dense, *recipe.runs) for split in run.scores.values()]
    for metric, title in recipe.evaluation.metrics.items():
        found = sorted({f"`{split[metric].signature}`" for split in scores})
        differ = ". Scores of different signatures do not compare." if len(found) > 1 else ""
        yield f"{title}: {', '.join(found)}{differ}"
    contests = [test for contest in recipe.contests for test in contest.tests]
    for test in [*recipe.against_dense.values(), *contests][:1]:
        yield (
            f"{recipe.tests.method}: `{test.signature}`. Counted are the seeds with "
            f"p < {SIGNIFICANT}."
        )
    few = [
        f"{_place(runs)} ({len(seeds_of(runs))})"
        for runs in groups(recipe.runs).values()
        if len(seeds_of(runs)) < SEEDS_TO_RANK
    ]
    if few:
        yield f"{NO_RANKING.capitalize()} of {', '.join(few)}."


def _score_picture(recipe: RecipeRuns, prefix: str, styles: figures.Styles) -> Picture:
    band = " with its spread in grey" if len(recipe.dense) > 1 else ""
    line = f"; the black line is the dense model{band}" if recipe.dense else ""
    costs = any(run.cost_budget is not None for run in recipe.runs)
    at = " Those of a budget in cost, C, stand at the mean number of heads." if costs else ""
    return Picture(
        f"{prefix}-{recipe.evaluation.short.lower()}",
        f"{recipe.evaluation.short} against heads kept, {recipe.name}",
        f"Mean over seeds, bars of one standard deviation{line}. Points of one budget stand a step "
        f"aside of each other.{at}",
        figures.score_against_heads(recipe.runs, recipe.dense, styles),
    )


def _head_pictures(recipe: RecipeRuns, prefix: str) -> Iterator[Block]:
    by_group = groups(run for run in recipe.runs if run.kept and 0 < run.budget < run.num_heads)
    if not by_group:
        return
    yield "### Which heads survive"
    yield (
        "Between seeds that start from one dense model a head is the same head. Between "
        "models trained from scratch only the counts per layer and kind compare."
    )
    for budget in sorted({budget for _, budget in by_group}):
        by_method = {
            method: group for (method, given), group in by_group.items() if given == budget
        }
        heads = _heads(run for group in by_method.values() for run in group)
        in_cost, limit = budget
        yield Picture(
            f"{prefix}-heads-{'c' if in_cost else ''}{limit:.12g}",
            f"Head survival at {heads}, {recipe.name}",
            f"{heads}: the darker, the more seeds keep the head, and the number counts them. "
            "Above each map stands the mean number of heads that are left there.",
            figures.head_survival(by_method),
        )


def _training_picture(recipe: RecipeRuns, prefix: str, styles: figures.Styles) -> Iterator[Block]:
    curves: dict[Budget, dict[str, list[Curve]]] = {}
    able = [run for run in recipe.runs if 0 < run.budget < run.num_heads]
    for (method, budget), group in groups(able).items():
        logs = ((run.folder / "train.log", run.budget) for run in group)
        found = [curve for log, k in logs if (curve := read_curve(log, k))]
        # What began with its heads has no schedule.
        found = [curve for curve in found if curve.frozen_at != curve.updates[0]]
        if found:
            curves.setdefault(budget, {})[method] = found
    if not curves:
        return
    yield "### Training"
    yield Picture(
        f"{prefix}-training",
        f"Temperature and margin in training, {recipe.name}",
        "Margin is the importance of the last head kept less that of the next: while it grows, "
        "the choice gets surer. Lines are means over seeds, bands (with up to "
        f"{figures.MOST_BANDS} methods) their range; a black line of temperature stands for "
        "all runs.",
        figures.training_curves(
            {
                _heads(run for run in able if run.given == budget): curves[budget]
                for budget in sorted(curves)
            },
            styles,
        ),
    )


def _missing(recipe: RecipeRuns) -> Iterator[str]:
    """What the report would have said, were it there."""
    runs, output = recipe.runs, recipe.evaluation.file("test")
    if not recipe.dense:
        yield "There is no dense result: no differences to it."
    # What has no run at all may belong to no grid: grids may share a folder.
    for group in groups(runs).values():
        if absent := sorted(seeds_of(runs) - seeds_of(group)):
            yield (
                f"{_place(group)}: no result of "
                f"{'seed' if len(absent) == 1 else 'seeds'} {', '.join(map(str, absent))}."
            )
    without = {
        f"a paired test against the dense run (`{output}` is missing, incomplete or of other "
        "data)": [r.id for r in runs if recipe.dense and r.id not in recipe.against_dense],
        "training curves (no JSON lines with temperature and margin in `train.log`)": [
            run.id for run in runs if read_curve(run.folder / "train.log") is None
        ],
        "a head map": [run.id for run in runs if not run.kept],
    }
    for what, names in without.items():
        if names:
            yield f"Without {what}: {', '.join(names)}."
    # Scores in the lines are rounded to two digits.
    others = [
        row.first.id
        for row in _run_rows(recipe)
        if recipe.tests.on_scores
        and row.tests
        and abs(row.tests[0].difference - (row.difference or 0.0)) > 0.02
    ]
    if others:
        yield (
            f"The scores in `runs.jsonl` are not those of `{output}`, of the run or of its dense "
            f"partner: {', '.join(others)}."
        )


def counted(number: int, noun: str) -> str:
    """``1 head``, ``2 heads``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _heads(runs: Iterable[FinishedRun]) -> str:
    """The heads of runs of one budget, as in ``12 heads`` or ``20–23 heads, C = 13``."""
    runs = list(runs)
    return heads_kept(runs, " head" if {run.budget for run in runs} == {1} else " heads")


def _place(runs: Sequence[FinishedRun]) -> str:
    """The method and the heads of runs of both."""
    return f"{runs[0].method} at {_heads(runs)}"


# ---- writing it


def write_report(sweep_folder: Path, output: Path) -> list[str]:
    """Writes ``report.md``, ``report.html`` and each figure as SVG and PNG.

    Args:
        sweep_folder: with ``runs.jsonl``.
        output: a folder that is new or empty, or one that this function wrote: that is replaced.

    Returns:
        the names of the files. The same input gives the same bytes.

    Raises:
        PruningError: no lines to report on, or a folder with other files in it.
    """
    _check_output(output)
    sweep = read_sweep(sweep_folder)
    blocks = list(build_blocks(sweep, gather(sweep)))
    pictures = [block for block in blocks if isinstance(block, Picture)]
    files = {}
    for picture in tqdm(pictures, desc="drawing", unit="figure", disable=None):
        for suffix in (".svg", ".png"):
            files[f"{picture.name}{suffix}"] = render(picture.figure, suffix)
    markdown = "\n\n".join(map(str, blocks)) + "\n"
    drawings = {picture.name: files[f"{picture.name}.svg"] for picture in pictures}
    files["report.md"] = markdown.encode()
    files["report.html"] = to_html(markdown, drawings, GENERATOR).encode()
    try:
        with in_place_of(output, replace_folder=True) as folder:
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise PruningError(f"cannot write {output}: {error.strerror or error}") from None
    return sorted(files)


def _check_output(output: Path) -> None:
    if output.is_file():
        raise PruningError(f"{output} is a file: give another --output")
    page = output / "report.html"
    own = page.is_file() and f'content="{GENERATOR}"' in page.read_text(errors="replace")
    for name in sorted(path.name for path in output.glob("*")):
        if not own or not re.fullmatch(r"report\.(md|html)|[\w.-]+\.(svg|png)", name):
            raise PruningError(
                f"{output} holds {name}, which dsp-report did not write: give another --output"
            )
