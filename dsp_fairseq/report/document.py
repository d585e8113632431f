"""From a sweep's lines to tables, figures and one HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import PruningError
from ..experiments.logs import Curve, read_curve
from ..experiments.results import (
    FinishedRun,
    Spread,
    Sweep,
    data_folder,
    dense_runs,
    groups,
    read_sweep,
    spread,
)
from ..files import in_place_of
from . import figures
from .figures import Picture
from .page import Block, Heading, Items, Paragraph, Table, to_html, to_markdown
from .significance import SIGNIFICANT, Paired, Texts

GENERATOR = "dsp-report"
SEEDS_TO_RANK = 3
NO_RANKING = "fewer than three seeds: no ranking"
NONE = "–"


# ---- what there is to compare


@dataclass(frozen=True)
class Contest:
    """Two methods at one budget, on the seeds that both have.

    Attributes:
        budget: K.
        ahead: the method with the higher mean test score.
        behind: the other one.
        difference: of the two means.
        seeds: the number of seeds that both have.
        pairs: the paired tests, one a seed for which both outputs are there.
    """

    budget: int
    ahead: str
    behind: str
    difference: float
    seeds: int
    pairs: Sequence[Paired]

    @property
    def verdict(self) -> str:
        """What may be claimed: with three seeds, and each of them significant."""
        if self.seeds < SEEDS_TO_RANK:
            return NO_RANKING
        if len(self.pairs) < SEEDS_TO_RANK:
            return "fewer than three paired tests: no ranking"
        if all(pair.difference > 0 and pair.significant for pair in self.pairs):
            return f"{self.ahead} is ahead"
        return "not told apart"


@dataclass(frozen=True)
class RecipeRuns:
    """Everything about the runs of one recipe.

    Attributes:
        name: of the recipe.
        runs: the pruned ones.
        dense: the dense runs that they are compared with.
        against_dense: by the id of a run, the paired test against its dense partner.
        contests: the best method of each budget against the others.
        plain: whether paired tests are on detokenised text.
    """

    name: str
    runs: Sequence[FinishedRun]
    dense: Sequence[FinishedRun]
    against_dense: dict[str, Paired] = field(default_factory=dict)
    contests: list[Contest] = field(default_factory=list)
    plain: bool = True

    @property
    def num_heads(self) -> int:
        """N, the number of heads before pruning."""
        return (*self.runs, *self.dense)[0].num_heads

    def partner(self, run: FinishedRun) -> FinishedRun | None:
        """The dense run of the same seed, or the first one, or None."""
        same = [dense for dense in self.dense if dense.seed == run.seed]
        return next(iter((*same, *self.dense)), None)


def gather(sweep: Sweep) -> list[RecipeRuns]:
    """Runs all paired tests of a sweep.

    Raises:
        PruningError: runs of one recipe have different head layouts.
    """
    recipes = []
    for name in sweep.recipes:
        dense = dense_runs(sweep, name)
        runs = [run for run in sweep.runs if run.recipe == name and not run.is_dense]
        _check_layouts(name, [*runs, *dense])
        data = next(filter(None, map(data_folder, [*runs, *dense])), None)
        recipe = RecipeRuns(name, runs, dense, plain=data is not None)
        texts = Texts(data)
        rivals = _rivals(runs)
        with tqdm(
            total=len(runs) + len(rivals), desc=f"paired tests, {name}", unit="test", disable=None
        ) as bar:
            for partner in dense:
                own = [run for run in runs if recipe.partner(run) is partner]
                recipe.against_dense.update(texts.compare(partner, own))
                bar.update(len(own))
            for first, second in rivals:
                recipe.contests.append(_contest(texts, first, second))
                bar.update()
            bar.update((bar.total or 0) - bar.n)
        recipes.append(recipe)
    return recipes


def _check_layouts(recipe: str, runs: Iterable[FinishedRun]) -> None:
    """Maps and budgets of different models would not compare."""
    by_shape: dict[tuple, FinishedRun] = {}
    for run in runs:
        sizes = {kind: (len(run.kept[kind]), run.heads_per_layer[kind]) for kind in run.kept}
        by_shape.setdefault((run.num_heads, *sorted(sizes.items())), run)
    if len(by_shape) > 1:
        first, second, *_ = by_shape.values()
        raise PruningError(
            f"{first.id} and {second.id} are both of the recipe {recipe!r}, but their models have "
            "different heads: give different recipes different names"
        )


def _rivals(runs: Sequence[FinishedRun]) -> list[tuple[list[FinishedRun], list[FinishedRun]]]:
    """At each budget the method with the highest mean, and each of the others."""
    pairs = []
    by_group = groups(runs)
    for budget in sorted({run.budget for run in runs}):
        here = [group for (_, k), group in by_group.items() if k == budget]
        here.sort(key=lambda group: -_bleu(group).mean)
        # A mean of one or two seeds is no measure for those that could be ranked.
        able = [group for group in here if len(group) >= SEEDS_TO_RANK]
        best = able[0] if len(able) > 1 else here[0]
        pairs += [(best, other) for other in here if other is not best]
    return pairs


def _contest(texts: Texts, first: list[FinishedRun], second: list[FinishedRun]) -> Contest:
    # Over the seeds that both have; with none in common, over what there is.
    common = {run.seed for run in first} & {run.seed for run in second}
    if common:
        first, second = ([r for r in runs if r.seed in common] for runs in (first, second))
    if _bleu(first).mean < _bleu(second).mean:
        first, second = second, first
    of_seed = {run.seed: run for run in second}
    pairs: list[Paired] = []
    both = [(run, of_seed[run.seed]) for run in first if run.seed in of_seed]
    for run, rival in both:
        pairs += texts.compare(rival, [run]).values()
    return Contest(
        first[0].budget,
        first[0].method,
        second[0].method,
        _bleu(first).mean - _bleu(second).mean,
        len(both),
        pairs,
    )


def _bleu(runs: Iterable[FinishedRun]) -> Spread:
    return spread(run.score("sacrebleu") for run in runs)


# ---- the report's blocks


def build_blocks(sweep: Sweep, recipes: Sequence[RecipeRuns]) -> list[Block]:
    """The whole report, in the order of reading."""
    name = sweep.folder.resolve().name
    styles = figures.styles_of([run.method for run in sweep.runs if not run.is_dense])
    blocks: list[Block] = [Heading(1, f"Heads pruned: {name}"), _summary(sweep)]
    prefixes: set[str] = set()
    for recipe in recipes:
        prefix = re.sub(r"[^A-Za-z0-9.-]+", "-", recipe.name).strip("-.") or "recipe"
        while prefix in prefixes:
            prefix += "-"
        prefixes.add(prefix)
        blocks.append(Heading(2, f"Recipe {recipe.name}"))
        if recipe.runs:
            blocks.append(_bleu_picture(recipe, prefix, styles))
        blocks += _results(recipe)
        if recipe.runs:
            blocks += [*_head_pictures(recipe, prefix), *_training_picture(recipe, prefix, styles)]
        blocks += _missing(recipe)
        blocks += [Heading(3, "Every run"), _run_table(recipe)]
    return blocks


def _summary(sweep: Sweep) -> Paragraph:
    pruned = [run for run in sweep.runs if not run.is_dense]
    minutes = sum(run.train_seconds for run in sweep.runs) / 60
    time = f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    text = (
        f"{counted(len(pruned), 'pruned run')} and {len(sweep.runs) - len(pruned)} dense, trained "
        f"in {time} in all. Scores are of the test split, as mean ± sample standard "
        "deviation over seeds; choose a budget and a method by the columns valid loss and valid "
        "(its sacreBLEU)."
    )
    if sweep.torn:
        text += " The last line of `runs.jsonl` is incomplete and was left out."
    return Paragraph(text)


def _results(recipe: RecipeRuns) -> list[Block]:
    dense = recipe.dense
    rows = [_result_row(recipe, "dense", dense)] if dense else []
    for (method, _), runs in groups(recipe.runs).items():
        rows.append(_result_row(recipe, method, runs))
    header = [
        *("method", "heads", "seeds", "sacreBLEU", "dense", "difference"),
        *(f"p < {SIGNIFICANT}", "valid loss", "valid", "chrF", "dense", "parameters", "dense"),
        *("tokens/s", "dense"),
    ]
    blocks: list[Block] = [Table(header, rows, frozenset({0}), frozenset({4, 10, 12, 14}))]
    blocks += [Paragraph(text) for text in _notes(recipe)]
    if recipe.contests:
        blocks += [Heading(3, "Methods against each other"), _contest_table(recipe)]
        blocks.append(
            Paragraph(
                "At each budget the method with the highest mean against the others, seed by "
                f"seed. One is called ahead only if it is so with p < {SIGNIFICANT} in every seed, "
                "of three or more; the values of p are not corrected for the number of tests."
            )
        )
    return blocks


def _result_row(recipe: RecipeRuns, method: str, runs: Sequence[FinishedRun]) -> list[str]:
    dense = recipe.dense
    is_dense = runs[0].is_dense
    difference = NONE
    if dense and not is_dense:
        difference = _signed(_bleu(runs).mean - _bleu(dense).mean)
    tests = [recipe.against_dense[run.id] for run in runs if run.id in recipe.against_dense]

    def pair(of: Sequence[FinishedRun], metric: str, split: str = "test") -> str:
        values = [run.score(metric, split) for run in of if split in run.scores]
        return _spread(spread(values)) if values else NONE

    def loss(of: Sequence[FinishedRun]) -> str:
        values = [run.valid_loss for run in of if run.valid_loss is not None]
        return _spread(spread(values), digits=3) if values else NONE

    def mean(of: Sequence[FinishedRun], name: str) -> str:
        return f"{spread(getattr(run, name) for run in of).mean:,.0f}" if of else NONE

    return [
        *(method, f"{runs[0].budget} of {recipe.num_heads}", str(len(runs))),
        *(pair(runs, "sacrebleu"), pair(dense, "sacrebleu"), difference, _significance(tests)),
        *(loss(runs), pair(runs, "sacrebleu", "valid")),
        *(pair(runs, "chrf"), pair(dense, "chrf")),
        *(mean(runs, "parameters"), mean(dense, "parameters")),
        *(mean(runs, "tokens_per_second"), mean(dense, "tokens_per_second")),
    ]


def _notes(recipe: RecipeRuns) -> list[str]:
    """What the numbers rest on: signatures, the texts of the tests, and too few seeds."""
    notes = []
    everything = [*recipe.dense, *recipe.runs]
    for title, metric in (("sacreBLEU", "sacrebleu"), ("chrF", "chrf")):
        found = {run.scores[split][metric].signature for run in everything for split in run.scores}
        notes.append(f"{title}: " + ", ".join(f"`{signature}`" for signature in sorted(found)))
        if len(found) > 1:
            notes[-1] += ". Scores of different signatures do not compare."
    tests = [
        *recipe.against_dense.values(),
        *(pair for contest in recipe.contests for pair in contest.pairs),
    ]
    if tests:
        on = "detokenised text" if recipe.plain else "tokenised text, since the data is not there"
        notes.append(
            f"Paired bootstrap on {on}: `{tests[0].signature}`. Counted are the seeds with "
            f"p < {SIGNIFICANT}."
        )
    few = [
        f"{method} at {counted(budget, 'head')} ({len(runs)})"
        for (method, budget), runs in groups(recipe.runs).items()
        if len(runs) < SEEDS_TO_RANK
    ]
    if few:
        notes.append(f"{NO_RANKING.capitalize()} of {', '.join(few)}.")
    return notes


def _contest_table(recipe: RecipeRuns) -> Table:
    rows = [
        [
            *(str(contest.budget), contest.ahead, contest.behind, str(contest.seeds)),
            *(_signed(contest.difference), _significance(contest.pairs), contest.verdict),
        ]
        for contest in recipe.contests
    ]
    header = [
        *("heads", "higher mean", "against", "seeds"),
        *("difference", f"p < {SIGNIFICANT}", "what it says"),
    ]
    return Table(header, rows, frozenset({1, 2, 6}))


def _bleu_picture(recipe: RecipeRuns, prefix: str, styles: Mapping[str, Any]) -> Picture:
    band = " with its spread in grey" if len(recipe.dense) > 1 else ""
    line = f"; the black line is the dense model{band}" if recipe.dense else ""
    return Picture(
        f"{prefix}-bleu",
        f"BLEU against heads kept, {recipe.name}",
        f"Mean over seeds, bars of one standard deviation{line}. Points of one budget stand a step "
        "aside of each other.",
        figures.bleu_against_heads(recipe.runs, recipe.dense, styles),
    )


def _head_pictures(recipe: RecipeRuns, prefix: str) -> list[Block]:
    blocks: list[Block] = []
    by_group = groups(run for run in recipe.runs if run.kept and 0 < run.budget < run.num_heads)
    for budget in sorted({budget for _, budget in by_group}):
        by_method = {method: group for (method, k), group in by_group.items() if k == budget}
        heads = counted(budget, "head")
        blocks.append(
            Picture(
                f"{prefix}-heads-{budget}",
                f"Head survival at {heads}, {recipe.name}",
                f"{heads}: the darker, the more seeds keep the head, and the number counts them. "
                "Above each map stands the mean number of heads that are left there.",
                figures.head_survival(by_method, budget, recipe.num_heads),
            )
        )
    if not blocks:
        return []
    return [
        Heading(3, "Which heads survive"),
        Paragraph(
            "Between seeds that start from one dense model a head is the same head. Between "
            "models trained from scratch only the counts per layer and kind compare."
        ),
        *blocks,
    ]


def _training_picture(recipe: RecipeRuns, prefix: str, styles: Mapping[str, Any]) -> list[Block]:
    curves: dict[int, dict[str, list[Curve]]] = {}
    for (method, budget), group in groups(recipe.runs).items():
        found = [curve for run in group if (curve := read_curve(run.folder / "train.log"))]
        # What began with its heads, or has all, has no schedule.
        found = [curve for curve in found if curve.frozen_at != curve.updates[0]]
        if found and budget not in (0, group[0].num_heads):
            curves.setdefault(budget, {})[method] = found
    if not curves:
        return []
    return [
        Heading(3, "Training"),
        Picture(
            f"{prefix}-training",
            f"Temperature and margin in training, {recipe.name}",
            "Margin is the importance of the last head kept less that of the next: while it grows, "
            "the choice gets surer. Lines are means over seeds, bands (with up to "
            f"{figures.MOST_BANDS} methods) their range; a black line of temperature stands for "
            "all runs.",
            figures.training_curves(curves, styles),
        ),
    ]


def _missing(recipe: RecipeRuns) -> list[Block]:
    """What the report would have said, were it there."""
    items = []
    if not recipe.dense:
        items.append("There is no dense result: no differences to it.")
    runs = recipe.runs
    seeds = {run.seed for run in runs}
    budgets = sorted({run.budget for run in runs})
    for method in sorted({run.method for run in runs}):
        for budget in budgets:
            done = {r.seed for r in runs if r.method == method and r.budget == budget}
            if absent := sorted(seeds - done):
                items.append(
                    f"{method} at {counted(budget, 'head')}: no result of "
                    f"{'seed' if len(absent) == 1 else 'seeds'} {', '.join(map(str, absent))}."
                )
    without = {
        "a paired test against the dense run (`test.out` is missing, incomplete or of other "
        "data)": [r.id for r in runs if recipe.dense and r.id not in recipe.against_dense],
        "training curves (no JSON lines with temperature and margin in `train.log`)": [
            run.id for run in runs if read_curve(run.folder / "train.log") is None
        ],
        "a head map": [run.id for run in runs if not run.kept],
    }
    for what, names in without.items():
        if names:
            items.append(f"Without {what}: {', '.join(names)}.")
    others = [
        run.id
        for run in runs
        if recipe.plain
        and (pair := recipe.against_dense.get(run.id))
        and (partner := recipe.partner(run))
        # Scores in the lines are rounded to two digits.
        and abs(pair.difference - _difference(run, partner)) > 0.02
    ]
    if others:
        items.append(
            "The scores in `runs.jsonl` are not those of `test.out`, of the run or of its dense "
            f"partner: {', '.join(others)}."
        )
    return [Heading(3, "What is missing"), Items(items)] if items else []


def _run_table(recipe: RecipeRuns) -> Table:
    rows = []
    for run in [*recipe.dense, *recipe.runs]:
        partner = None if run.is_dense else recipe.partner(run)
        test = recipe.against_dense.get(run.id)
        rows.append(
            [
                *(run.id, run.method, str(run.budget), str(run.seed)),
                f"{run.score('sacrebleu'):.2f}",
                f"{partner.score('sacrebleu'):.2f}" if partner else NONE,
                _signed(_difference(run, partner)) if partner else NONE,
                f"{test.p_value:.3f}" if test else NONE,
                f"{run.score('chrf'):.2f}",
                NONE if run.valid_loss is None else f"{run.valid_loss:.3f}",
                f"{run.score('sacrebleu', 'valid'):.2f}" if "valid" in run.scores else NONE,
                f"{run.train_seconds / 60:,.1f}",
            ]
        )
    header = ["run", "method", "heads", "seed", "sacreBLEU", "dense", "difference", "p", "chrF",
              "valid loss", "valid", "minutes"]  # fmt: skip
    return Table(header, rows, frozenset({0, 1}), frozenset({5}))


def _difference(run: FinishedRun, partner: FinishedRun) -> float:
    return run.score("sacrebleu") - partner.score("sacrebleu")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _spread(value: Spread, digits: int = 2) -> str:
    if value.deviation is None:
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ± {value.deviation:.{digits}f}"


def _signed(value: float) -> str:
    return "0.00" if round(value, 2) == 0 else f"{value:+.2f}".replace("-", "−")


def _significance(tests: Sequence[Paired]) -> str:
    if not tests:
        return NONE
    return f"{sum(test.significant for test in tests)} of {len(tests)}"


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
    blocks = build_blocks(sweep, gather(sweep))
    drawings, files = {}, {}
    pictures = [block for block in blocks if isinstance(block, Picture)]
    for picture in tqdm(pictures, desc="drawing", unit="figure", disable=None):
        drawings[picture.name] = picture.render("svg")
        files[f"{picture.name}.svg"] = drawings[picture.name]
        files[f"{picture.name}.png"] = picture.render("png")
    files["report.md"] = to_markdown(blocks).encode()
    files["report.html"] = to_html(blocks, drawings, GENERATOR).encode()
    try:
        with in_place_of(output, replace_folder=True) as folder:
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise PruningError(f"cannot write {output}: {error.strerror or error}") from None
    return sorted(files)


def _check_output(output: Path) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise PruningError(f"{output} is a file: give another --output")
    names = {path.name for path in output.iterdir()}
    if not names:
        return
    page = output / "report.html"
    own = page.is_file() and f'content="{GENERATOR}"' in page.read_text(errors="replace")
    foreign = {
        name
        for name in names
        if not own or not re.fullmatch(r"report\.(md|html)|[\w.-]+\.(svg|png)", name)
    }
    if foreign:
        raise PruningError(
            f"{output} holds {min(foreign)}, which dsp-report did not write: give another --output"
        )
