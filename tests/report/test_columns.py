"""The tables of a report."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
from report_helpers import read_lines, table_rows, write_lines

from dsp_fairseq.experiments.evaluation import EVALUATIONS
from dsp_fairseq.experiments.results import read_sweep
from dsp_fairseq.report import columns
from dsp_fairseq.report.columns import Column, measured, table
from dsp_fairseq.report.significance import gather


def test_every_number_stands_beside_its_dense_result(written):
    sweep, folder = written
    rows = table_rows((folder / "report.md").read_text(), "parameters")
    dense, *pruned = read_lines(sweep)
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


def test_a_sweep_without_validation_scores(small, markdown):
    lines = read_lines(small)
    for line in lines:
        del line["scores"]["valid"]
    write_lines(small, lines)
    assert all(row["valid"] == ["–"] for row in table_rows(markdown(small), "parameters"))


def test_a_column_more_is_one_entry_in_a_list(small, markdown):
    hours = measured("hours", lambda run: run.train_seconds / 3600, ".5f", dense=True)
    seeds = Column("all seeds", lambda row: "+".join(str(r.seed) for r in row.runs), left=True)
    columns.RESULTS += [*hours, seeds]
    try:
        rows = table_rows(markdown(small), "hours")
    finally:
        del columns.RESULTS[-3:]
    assert [row["hours"] for row in rows] == [["0.33361"], *[["0.33375 ± 0.00020"]] * 2]
    assert [row["dense"][-1] for row in rows] == ["0.33361"] * 3
    assert [row["all seeds"] for row in rows] == [["1"], ["1+2"], ["1+2"]]


def test_metrics_of_an_evaluation_of_ones_own_have_columns(small, markdown, monkeypatch):
    built_in = type(EVALUATIONS["translation"])
    own = type("Own", (built_in,), {"task": "own", "metrics": {"f1": "F1", "em": "exact match"}})
    monkeypatch.setitem(EVALUATIONS, "own", own())
    lines = read_lines(small)
    for line in lines:
        signature = line["scores"]["test"]["sacrebleu"]["signature"]
        values = {"f1": 70 + line["seed"], "em": 40}
        scores = {name: {"score": v, "signature": signature} for name, v in values.items()}
        line |= {"task": "own", "scores": {"test": scores, "valid": scores}}
    write_lines(small, lines)
    text = markdown(small)
    assert "sacreBLEU |" not in text
    rows = table_rows(text, "parameters")
    assert [row["F1"] for row in rows] == [["71.00"], *[["71.50 ± 0.71"]] * 2]
    assert rows[1]["exact match"] == ["40.00 ± 0.00"]
    assert rows[1]["dense"][:2] == ["71.00", "40.00"]
    assert [row["F1"] for row in table_rows(text, "minutes")][:2] == [["71.00"], ["71.00"]]


def test_numbers_that_no_run_has_and_differences_that_round_to_nothing(small):
    recipe = gather(read_sweep(small))[0]
    row = recipe.beside([], recipe.runs[:2])
    (unknown,) = measured("x", lambda run: None)
    assert unknown.cell(row) == columns.DIFFERENCE.cell(row) == columns.NONE
    same = recipe.beside(recipe.runs[:1], recipe.runs[:1])
    assert columns.DIFFERENCE.cell(same) == "0.00"
    assert table([unknown, Column("a|b", str, left=True)], [row][:0]) == (
        "| x | a\\|b |\n| ---: | :--- |"
    )
