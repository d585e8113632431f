"""dsp-report: what its tables say, what its figures show, and what it refuses."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from made_up_sweep import make_sweep
from matplotlib.colors import to_rgb
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from dsp_fairseq.cli.report import main
from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.bleu import read_generated
from dsp_fairseq.experiments.logs import read_curve
from dsp_fairseq.experiments.results import dense_runs, groups, read_sweep
from dsp_fairseq.report import figures
from dsp_fairseq.report.document import Contest, gather, write_report
from dsp_fairseq.report.page import Heading, Paragraph, Table, to_html, to_markdown
from dsp_fairseq.report.significance import Paired


def _lines(sweep: Path) -> list[dict]:
    return [json.loads(line) for line in (sweep / "runs.jsonl").read_text().splitlines()]


def _rewrite(sweep: Path, lines: list[dict]) -> None:
    (sweep / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _rows(markdown: str, header: str) -> list[dict[str, list[str]]]:
    """The rows of the table whose header holds a word; columns of one name come as a list."""
    lines = markdown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|") and header in line)
    names = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        row: dict[str, list[str]] = {}
        cells = line.replace("\\|", "¦").strip("|").split("|")
        for name, cell in zip(names, cells, strict=True):
            row.setdefault(name, []).append(cell.strip())
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, Path]:
    """The folder of a sweep (two methods, two budgets, three seeds), and its report."""
    folder = tmp_path_factory.mktemp("report")
    sweep = make_sweep(folder / "sweep")
    main([str(sweep), "--output", str(folder / "report")])
    return sweep, folder / "report"


@pytest.fixture
def small(tmp_path) -> Path:
    """One method, two budgets, two seeds."""
    return make_sweep(tmp_path / "sweep", methods=("gumbel",), seeds=(1, 2), sentences=24)


@pytest.fixture
def report(tmp_path):
    """Writes a report and returns its Markdown."""

    def write(sweep: Path) -> str:
        write_report(sweep, tmp_path / "report")
        return (tmp_path / "report/report.md").read_text()

    return write


# ---- the tables


def test_every_number_stands_beside_its_dense_result(written):
    sweep, folder = written
    rows = _rows((folder / "report.md").read_text(), "parameters")
    dense, *pruned = _lines(sweep)
    assert [(row["method"][0], row["heads"][0]) for row in rows] == [
        ("dense", "48 of 48"),
        *((method, f"{k} of 48") for method in ("gumbel", "ste") for k in (6, 12)),
    ]
    for row in rows[1:]:
        method, budget = row["method"][0], int(row["heads"][0].split()[0])
        runs = [r for r in pruned if r["method"] == method and r["budget"] == budget]
        bleu = [r["scores"]["test"]["sacrebleu"]["score"] for r in runs]
        chrf = [r["scores"]["test"]["chrf"]["score"] for r in runs]
        dense_test = dense["scores"]["test"]
        assert row["seeds"] == ["3"]
        assert row["sacreBLEU"] == [f"{fmean(bleu):.2f} ± {stdev(bleu):.2f}"]
        assert row["chrF"] == [f"{fmean(chrf):.2f} ± {stdev(chrf):.2f}"]
        assert row["parameters"] == [f"{runs[0]['parameters']:,}"]
        assert row["tokens/s"] == [f"{fmean(r['tokens_per_second'] for r in runs):,.0f}"]
        assert row["dense"] == [
            f"{dense_test['sacrebleu']['score']:.2f}",
            f"{dense_test['chrf']['score']:.2f}",
            f"{dense['parameters']:,}",
            f"{dense['tokens_per_second']:,.0f}",
        ]
        difference = float(row["difference"][0].replace("−", "-"))
        assert difference == pytest.approx(
            fmean(bleu) - dense_test["sacrebleu"]["score"], abs=0.006
        )


def test_signatures_name_every_setting(written):
    text = (written[1] / "report.md").read_text()
    line = _lines(written[0])[0]["scores"]["test"]
    assert f"sacreBLEU: `{line['sacrebleu']['signature']}`\n" in text
    assert f"chrF: `{line['chrf']['signature']}`\n" in text
    assert "detokenised text: `BLEU|nrefs:1|bs:1000|seed:12345|case:mixed" in text
    assert "What is missing" not in text


def test_the_paired_test_is_sacrebleus_on_detokenised_text(written, monkeypatch):
    sweep, folder = written
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    plain = [
        [line.replace(" .", ".").replace(" ,", ",") for line in read_generated(path)[0]]
        for path in (sweep.parent / "dense-s1/test.out", sweep / "ste-k6-s2/test.out")
    ]
    references = (sweep.parent / "data/raw/test.tgt").read_text().splitlines()
    _, scores = PairedTest(
        list(zip("ab", plain, strict=True)), {"BLEU": BLEU()}, [references], test_type="bs"
    )()
    row = next(r for r in _rows((folder / "report.md").read_text(), "minutes")
               if r["run"] == ["ste-k6-s2"])  # fmt: skip
    assert row["p"] == [f"{scores['BLEU'][1].p_value:.3f}"]
    assert scores["BLEU"][1].p_value < 0.05
    assert row["dense"] == [f"{scores['BLEU'][0].score:.2f}"]


def test_identical_outputs_are_no_significant_difference(small):
    """sacreBLEU itself gives them the smallest p there is."""
    lines = _lines(small)
    shutil.copy(small.parent / "dense-s1/test.out", small / "gumbel-k6-s1/test.out")
    next(x for x in lines if x["id"] == "gumbel-k6-s1")["scores"] = lines[0]["scores"]
    _rewrite(small, lines)
    (recipe,) = gather(read_sweep(small))
    assert recipe.against_dense["gumbel-k6-s1"].difference == 0.0
    assert recipe.against_dense["gumbel-k6-s1"].p_value == 1.0
    assert recipe.against_dense["gumbel-k6-s2"].significant


def test_a_run_is_paired_with_the_dense_run_of_its_seed(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (6,), (1, 2, 3), (2, 1), sentences=24)
    (recipe,) = gather(read_sweep(sweep))
    partners = {run.seed: recipe.partner(run).seed for run in recipe.runs}
    assert partners == {1: 1, 2: 2, 3: 1}
    assert len(recipe.against_dense) == 3


# ---- ranking


def _pair(difference: float, p: float) -> Paired:
    return Paired(difference, p, "BLEU|x")


@pytest.mark.parametrize(
    ("seeds", "pairs", "verdict"),
    [
        (3, [_pair(1.0, 0.01)] * 3, "a is ahead"),
        (3, [_pair(1.0, 0.01)] * 2 + [_pair(1.0, 0.06)], "not told apart"),
        (3, [_pair(1.0, 0.01)] * 2 + [_pair(-1.0, 0.01)], "not told apart"),
        (2, [_pair(9.0, 0.001)] * 2, "fewer than three seeds: no ranking"),
        (3, [_pair(9.0, 0.001)] * 2, "fewer than three paired tests: no ranking"),
    ],
)
def test_a_ranking_needs_three_seeds_that_agree(seeds, pairs, verdict):
    assert Contest(6, "a", "b", 1.0, seeds, pairs).verdict == verdict


def test_methods_are_ranked_with_three_seeds(written):
    rows = _rows((written[1] / "report.md").read_text(), "what it says")
    assert [row["heads"] for row in rows] == [["6"], ["12"]]
    for row in rows:
        assert row["seeds"] == ["3"]
        assert float(row["difference"][0]) > 0
        ahead = f"{row['higher mean'][0]} is ahead"
        expected = ahead if row["p \\< 0.05"] == ["3 of 3"] else "not told apart"
        assert row["what it says"] == [expected]
    assert "no ranking" not in (written[1] / "report.md").read_text()


def test_fewer_than_three_seeds_are_not_ranked(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep", seeds=(1, 2), budgets=(6,), sentences=24)
    text = report(sweep)
    (row,) = _rows(text, "what it says")
    assert row["what it says"] == ["fewer than three seeds: no ranking"]
    assert "Fewer than three seeds: no ranking of gumbel at 6 heads (2), ste at 6 heads (2)" in text


def test_a_method_of_one_seed_cannot_lead_those_that_can_be_ranked(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("a", "b", "c"), (6,), sentences=24)
    lines = [x for x in _lines(sweep) if x["method"] != "a" or x["seed"] == 1]
    for line in lines:
        if line["method"] == "a":
            line["scores"]["test"]["sacrebleu"]["score"] = 99.0
    _rewrite(sweep, lines)
    (recipe,) = gather(read_sweep(sweep))
    verdicts = {(c.ahead, c.behind): c.verdict for c in recipe.contests}
    assert len(verdicts) == 2
    assert {pair for pair in verdicts if "a" in pair} == {("a", "b")}
    assert verdicts["a", "b"] == "fewer than three seeds: no ranking"


def test_methods_are_compared_on_the_seeds_that_both_have(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("a", "b"), (6,), sentences=24)
    lines = [x for x in _lines(sweep) if (x["method"], x["seed"]) != ("b", 3)]
    for line in lines:
        # On seeds 1 and 2 b is ahead; a has a lucky third.
        score = {"a": 99.0 if line["seed"] == 3 else 20.0, "b": 21.0}.get(line["method"], 30.0)
        line["scores"]["test"]["sacrebleu"]["score"] = score
    _rewrite(sweep, lines)
    ((contest,),) = (recipe.contests for recipe in gather(read_sweep(sweep)))
    assert (contest.ahead, contest.behind, contest.difference) == ("b", "a", 1.0)


# ---- what is not there


def test_an_incomplete_sweep_says_what_is_missing(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep", dense_seeds=(), sentences=24)
    (sweep / "ste-k6-s1/train.log").unlink()
    lines = [x for x in _lines(sweep) if x["id"] not in ("ste-k12-s2", "ste-k12-s3")]
    _rewrite(sweep, lines)
    with (sweep / "runs.jsonl").open("a") as file:
        file.write('{"id": "ste-k12-s2", "rec')
    text = report(sweep)
    assert "There is no dense result: no differences to it." in text
    assert "ste at 12 heads: no result of seeds 2, 3." in text
    assert "Without training curves" in text and "`train.log`): ste-k6-s1." in text
    assert "The last line of `runs.jsonl` is incomplete" in text
    rows = _rows(text, "parameters")
    assert all(row["dense"] == ["–"] * 4 and row["difference"] == ["–"] for row in rows)
    assert {row["what it says"][0] for row in _rows(text, "what it says")} >= {
        "fewer than three seeds: no ranking"
    }


def test_outputs_that_are_missing_or_of_other_data_are_not_tested(small, report):
    (small / "gumbel-k6-s1/test.out").unlink()
    path = small / "gumbel-k6-s2/test.out"
    path.write_text(path.read_text().replace("H-3\t", "X-3\t").replace("T-3\t", "X-3\t"))
    text = report(small)
    assert re.search(r"Without a paired test .*: gumbel-k6-s1, gumbel-k6-s2\.", text)
    assert [row["p \\< 0.05"] for row in _rows(text, "parameters")] == [["–"], ["–"], ["2 of 2"]]


def test_without_the_data_folder_tests_are_on_tokens(small, report):
    shutil.rmtree(small.parent / "data")
    text = report(small)
    assert "Paired bootstrap on tokenised text, since the data is not there" in text
    assert "tok:none" in text
    assert "What is missing" not in text


def test_lines_that_are_not_of_their_outputs_are_named(small, report):
    shutil.copy(small / "gumbel-k12-s1/test.out", small / "gumbel-k6-s1/test.out")
    text = report(small)
    assert "not those of `test.out`, of the run or of its dense partner: gumbel-k6-s1." in text


def test_different_signatures_are_called_incomparable(small, report):
    lines = _lines(small)
    lines[1]["scores"]["test"]["sacrebleu"]["signature"] = "BLEU|case:lc"
    _rewrite(small, lines)
    assert "`BLEU|case:lc`, `BLEU|nrefs:1" in (text := report(small))
    assert "Scores of different signatures do not compare." in text


def test_dense_runs_alone_and_budgets_at_the_ends(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (0, 48), (1,), sentences=24)
    text = report(sweep)
    assert [row["heads"] for row in _rows(text, "parameters")][1:] == [["0 of 48"], ["48 of 48"]]
    assert "Which heads survive" not in text
    _rewrite(sweep, _lines(sweep)[:1])
    text = report(sweep)
    assert "0 pruned runs and 1 dense" in text
    assert not list((tmp_path / "report").glob("*.svg"))


def test_each_recipe_has_its_own_dense_result(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (6,), (1,), sentences=12)
    dense, run = _lines(sweep)
    _rewrite(sweep, [dense, run, {**run, "id": "other", "recipe": "other/recipe"}])
    text = report(sweep)
    first, second = text.split("## Recipe other/recipe")
    assert "no dense result" not in first
    assert "There is no dense result" in second
    assert (tmp_path / "report/other-recipe-bleu.svg").exists()


def test_a_sweep_without_validation_scores(small, report):
    lines = _lines(small)
    for line in lines:
        del line["scores"]["valid"]
    _rewrite(small, lines)
    assert all(row["valid"] == ["–"] for row in _rows(report(small), "parameters"))


# ---- the same again


def test_the_same_input_gives_the_same_bytes(written, tmp_path, monkeypatch):
    sweep, folder = written
    lines = _lines(sweep)
    before = (sweep / "runs.jsonl").read_bytes()
    try:
        # As after a kill: another order, and a run that was written twice.
        _rewrite(sweep, [lines[3], *reversed(lines)])
        monkeypatch.setenv("SACREBLEU_SEED", "7")
        names = write_report(sweep, tmp_path / "again")
    finally:
        (sweep / "runs.jsonl").write_bytes(before)
    assert names == sorted(path.name for path in folder.iterdir())
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_only_an_earlier_report_is_replaced(small, tmp_path, report):
    output = tmp_path / "report"
    report(small)
    assert (output / "multi30k-joint-heads-12.svg").exists()
    _rewrite(small, [line for line in _lines(small) if line["budget"] != 12])
    assert "12 of 48" not in report(small)
    assert not (output / "multi30k-joint-heads-12.svg").exists()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(PruningError, match=r"holds notes\.txt, which dsp-report did not write"):
        report(small)
    assert (output / "notes.txt").read_text() == "mine"
    with pytest.raises(PruningError, match="which dsp-report did not write"):
        main([str(small), "--output", str(small)])
    with pytest.raises(PruningError, match="is a file"):
        main([str(small), "--output", str(small / "runs.jsonl")])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "dense-s1", "report", "sweep"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.pop("budget"), r"line 2 is not the result of a run: it has no 'budget'"),
        (lambda line: line.update(budget=7), "its budget is 7 heads, and it keeps 6"),
        (lambda line: line["scores"]["test"].pop("chrf"), "it has no 'chrf'"),
        (lambda line: line.update(seed=None), "line 2 is not the result"),
        (lambda line: line.update(tokens_per_second=float("nan")), "nan, which is not a finite"),
        (lambda line: line["heads_per_layer"].update({"encoder.self": 1}), "encoder.self has no"),
        (lambda line: line.update(num_heads=24), "'multi30k-joint', but their models have"),
    ],
)
def test_lines_that_make_no_sense_are_refused(small, tmp_path, change, message):
    lines = _lines(small)
    change(lines[1])
    _rewrite(small, lines)
    with pytest.raises(PruningError, match=message):
        write_report(small, tmp_path / "report")
    assert not (tmp_path / "report").exists()


# ---- figures


def test_the_curve_shows_means_and_deviations(written):
    sweep = read_sweep(written[0])
    runs = [run for run in sweep.runs if not run.is_dense]
    dense = dense_runs(sweep, "multi30k-joint")
    styles = figures.styles_of([run.method for run in runs])
    axes = figures.bleu_against_heads(runs, dense, styles).axes[0]
    assert len(axes.containers) == 2
    for container, method in zip(axes.containers, ("gumbel", "ste"), strict=True):
        line, _, (bars,) = container.lines
        for i, budget in enumerate((6, 12)):
            scores = [run.score("sacrebleu") for run in groups(runs)[method, budget]]
            assert line.get_ydata()[i] == pytest.approx(fmean(scores))
            assert line.get_xdata()[i] == pytest.approx(budget, abs=0.5)
            low, high = bars.get_segments()[i][:, 1]
            assert (high - low) / 2 == pytest.approx(stdev(scores))
    levels = [line.get_ydata()[0] for line in axes.lines if line.get_color() == "#000000"]
    assert levels == [dense[0].score("sacrebleu")]
    assert list(axes.get_xticks()) == [6, 12, 48]


def test_survival_counts_the_seeds_that_keep_a_head(written):
    runs = [r for r in read_sweep(written[0]).runs if (r.method, r.budget) == ("ste", 12)]
    shares = figures.survival(runs)
    assert sum(share.sum() for share in shares.values()) == pytest.approx(12)
    for kind, share in shares.items():
        for (layer, head), value in np.ndenumerate(share):
            kept = sum(head in run.kept[kind][layer] for run in runs)
            assert value == pytest.approx(kept / 3)
    figure = figures.head_survival({"ste": runs}, 12, 48)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum(map(int, texts)) == 36


def test_shares_of_unequal_numbers_of_seeds_have_their_own_colours(written):
    runs = [run for run in read_sweep(written[0]).runs if run.budget == 12]
    by_method = {m: [r for r in runs if r.method == m] for m in ("gumbel", "ste")}
    colours = []
    for chosen in (by_method, {**by_method, "ste": by_method["ste"][:2]}):
        mesh = figures.head_survival(chosen, 12, 48).axes[0].collections[0]
        shares = (0, 1 / 3, 1 / 2, 2 / 3, 1)
        colours.append({share: tuple(mesh.cmap(mesh.norm(share))) for share in shares})
    assert len({colours[0][share] for share in (0, 1 / 3, 2 / 3, 1)}) == 4
    assert len(set(colours[1].values())) == 5


def test_one_black_line_stands_for_equal_temperatures(written):
    runs = [run for run in read_sweep(written[0]).runs if not run.is_dense]
    curves = {}
    for (method, budget), group in groups(runs).items():
        seeds = [read_curve(run.folder / "train.log") for run in group]
        curves.setdefault(budget, {})[method] = seeds
    axes = figures.training_curves(curves, figures.styles_of(["gumbel", "ste"])).axes
    temperature, margin = axes[0], axes[2]
    assert temperature.get_yscale() == "log"
    assert [line.get_color() for line in temperature.lines] == ["#000000", "#606060"]
    gumbel = next(line for line in margin.lines if line.get_color() == figures.STYLES[0][0])
    expected = fmean(curve.margin[-1] for curve in curves[6]["gumbel"])
    assert gumbel.get_ydata()[-1] == pytest.approx(expected)
    assert len(margin.collections) == 2


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
    figure = figures.head_survival({"a$b$c": runs}, 60, 288)
    for suffix in ("svg", "png"):
        assert figures.Picture("x", "x", "x", figure).render(suffix)


def test_files_of_figures(written):
    folder = written[1]
    names = {path.stem for path in folder.glob("*.svg")}
    assert names == {f"multi30k-joint-{what}" for what in ("bleu", "heads-6", "heads-12",
                                                           "training")}  # fmt: skip
    for name in names:
        ElementTree.fromstring((folder / f"{name}.svg").read_text())
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"]({name}.png)" in (folder / "report.md").read_text()


# ---- the page


class _Page(HTMLParser):
    """Checks that tags close in order, and collects what the page asks for."""

    EMPTY = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asks: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.asks += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _parse(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    assert page.open == []
    return page


def test_the_page_needs_nothing_else(written):
    text = (written[1] / "report.html").read_text()
    page = _parse(text)
    assert all(value.startswith("data:") for value in page.asks)
    assert not re.search(r"url\(|@import|<script|https?:", text)
    drawn = [base64.b64decode(v.partition("base64,")[2]) for v in page.asks if "svg" in v]
    assert sorted(drawn) == sorted(path.read_bytes() for path in written[1].glob("*.svg"))
    assert page.tags.count("table") == 3
    assert '<meta name="viewport"' in text


def test_page_and_markdown_hold_the_same_tables(written):
    text = (written[1] / "report.md").read_text()
    page = (written[1] / "report.html").read_text()
    for row in _rows(text, "minutes"):
        for cells in row.values():
            assert f">{cells[0]}</td>" in page


def test_names_are_escaped():
    name = '<script>alert("x")</script>|a_b*c'
    blocks = [Heading(1, name), Paragraph(f"{name} `a<b`"), Table(["h"], [[name]])]
    page = to_html(blocks, {}, "x")
    assert "<script" not in page
    _parse(page)
    assert "<code>a&lt;b</code>" in page
    markdown = to_markdown(blocks)
    assert r"| \<script\>alert(" in markdown
    assert r"\|a\_b\*c |" in markdown
    assert "`a<b`" in markdown
