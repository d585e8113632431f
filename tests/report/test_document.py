"""What a report says in words, what is missing in it, and what it refuses."""

from __future__ import annotations

import shutil

import pytest
from made_up_sweep import make_sweep
from report_helpers import give_costs, read_lines, table_rows, write_lines

from dsp_fairseq.cli.report import main
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.report.document import write_report


def test_signatures_name_every_setting(written):
    text = (written[1] / "report.md").read_text()
    line = read_lines(written[0])[0]["scores"]["test"]
    assert f"sacreBLEU: `{line['sacrebleu']['signature']}`\n" in text
    assert f"chrF: `{line['chrf']['signature']}`\n" in text
    assert "detokenised text: `BLEU|nrefs:1|ar:1000|seed:12345|case:mixed" in text
    assert "What is missing" not in text


def test_an_incomplete_sweep_says_what_is_missing(tmp_path, markdown):
    sweep = make_sweep(tmp_path / "sweep", dense_seeds=(), sentences=24)
    (sweep / "ste-k6-s1/train.log").unlink()
    lines = [x for x in read_lines(sweep) if x["id"] not in ("ste-k12-s2", "ste-k12-s3")]
    write_lines(sweep, lines)
    with (sweep / "runs.jsonl").open("a") as file:
        file.write('{"id": "ste-k12-s2", "rec')
    text = markdown(sweep)
    assert "There is no dense result: no differences to it." in text
    assert "ste at 12 heads: no result of seeds 2, 3." in text
    assert "Without training curves" in text and "`train.log`): ste-k6-s1." in text
    assert "The last line of `runs.jsonl` is incomplete" in text
    rows = table_rows(text, "parameters")
    assert all(row["dense"] == ["–"] * 4 and row["difference"] == ["–"] for row in rows)
    assert {row["what it says"][0] for row in table_rows(text, "what it says")} >= {
        "fewer than three seeds: no ranking"
    }


def test_what_no_grid_asked_for_is_not_missing(tmp_path, markdown):
    """A second grid in the folder has another method and another budget."""
    sweep = make_sweep(tmp_path / "sweep", sentences=12)
    ids = [x["id"] for x in read_lines(sweep) if (x["method"], x["budget"]) != ("ste", 6)]
    write_lines(sweep, [x for x in read_lines(sweep) if x["id"] in ids])
    assert "What is missing" not in markdown(sweep)


@pytest.mark.parametrize("stored", [True, False])
def test_budgets_in_cost_are_rows_whatever_number_of_heads_they_keep(tmp_path, report, stored):
    sweep = make_sweep(tmp_path / "sweep", ("by-cost", "count"), (20, 23), sentences=12)
    lines = give_costs(sweep, stored)
    text = report(sweep)
    assert [
        (row["method"][0], row["heads"][0], row["seeds"][0])
        for row in table_rows(text, "parameters")[1:]
    ] == [
        ("by-cost", "20–23 of 48, C = 13", "3"),
        ("by-cost", "20–23 of 48, C = 14", "3"),
        ("count", "20 of 48", "3"),
        ("count", "23 of 48", "3"),
    ]
    rows = {row["run"][0]: row["heads"][0] for row in table_rows(text, "minutes")}
    assert (rows["by-cost-c13-s2"], rows["count-k23-s2"]) == ("23, C = 13", "23")
    assert "no ranking" not in text and "What is missing" not in text
    assert {path.stem for path in (tmp_path / "report").glob("*-heads-*.svg")} == {
        f"multi30k-joint-heads-{budget}" for budget in ("20", "23", "c13", "c14")
    }
    assert "20–23 heads, C = 13: the darker" in text

    write_lines(sweep, [x for x in lines if x["id"] != "by-cost-c13-s2"])
    text = report(sweep)
    assert "Fewer than three seeds: no ranking of by-cost at 20 heads, C = 13 (2)." in text
    assert "- by-cost at 20 heads, C = 13: no result of seed 2." in text
    assert text.count("no result of") == 1


def test_runs_of_one_seed_are_one_seed(tmp_path, markdown):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (6,), (1, 2), sentences=12)
    dense, one, two = read_lines(sweep)
    write_lines(sweep, [dense, one, two, {**two, "id": "again"}])
    text = markdown(sweep)
    assert table_rows(text, "parameters")[1]["seeds"] == ["2"]
    assert "no ranking of ste at 6 heads (2)." in text


def test_lines_that_are_not_of_their_outputs_are_named(small, markdown):
    shutil.copy(small / "gumbel-k12-s1/test.out", small / "gumbel-k6-s1/test.out")
    text = markdown(small)
    assert "not those of `test.out`, of the run or of its dense partner: gumbel-k6-s1." in text


def test_different_signatures_are_called_incomparable(small, markdown):
    lines = read_lines(small)
    lines[1]["scores"]["test"]["sacrebleu"]["signature"] = "BLEU|case:lc"
    write_lines(small, lines)
    assert "`BLEU|case:lc`, `BLEU|nrefs:1" in (text := markdown(small))
    assert "Scores of different signatures do not compare." in text


def test_dense_runs_alone_and_budgets_at_the_ends(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (0, 48), (1,), sentences=24)
    text = report(sweep)
    assert [row["heads"] for row in table_rows(text, "parameters")][1:] == [
        ["0 of 48"],
        ["48 of 48"],
    ]
    assert "Which heads survive" not in text
    write_lines(sweep, read_lines(sweep)[:1])
    text = report(sweep)
    assert "0 pruned runs and 1 dense" in text
    assert not list((tmp_path / "report").glob("*.svg"))


def test_each_recipe_has_its_own_dense_result(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (6,), (1,), sentences=12)
    dense, run = read_lines(sweep)
    write_lines(sweep, [dense, run, {**run, "id": "other", "recipe": "other/recipe"}])
    text = report(sweep)
    first, second = text.split("## Recipe other/recipe")
    assert "no dense result" not in first
    assert "There is no dense result" in second
    assert (tmp_path / "report/other-recipe-bleu.svg").exists()


def test_the_same_input_gives_the_same_bytes(written, tmp_path, monkeypatch):
    sweep, folder = written
    lines = read_lines(sweep)
    before = (sweep / "runs.jsonl").read_bytes()
    try:
        # As after a kill: another order, and a run that was written twice.
        write_lines(sweep, [lines[3], *reversed(lines)])
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
    write_lines(small, [line for line in read_lines(small) if line["budget"] != 12])
    assert "12 of 48" not in report(small)
    assert not (output / "multi30k-joint-heads-12.svg").exists()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(PruningError, match=r"holds notes\.txt, which dsp-report did not write"):
        report(small)
    assert (output / "notes.txt").read_text() == "mine"
    with pytest.raises(CommandExit, match="which dsp-report did not write"):
        main([str(small), "--output", str(small)])
    with pytest.raises(CommandExit, match="is a file"):
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
    lines = read_lines(small)
    change(lines[1])
    write_lines(small, lines)
    with pytest.raises(PruningError, match=message):
        write_report(small, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_training_of_several_budgets_is_counted_once(tmp_path, markdown):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (6, 12), (1,), (1,), sentences=24)
    lines = read_lines(sweep)
    for line in lines:
        line["train_seconds"] = 300.0
    write_lines(sweep, lines)
    assert "trained in 15.0 minutes in all" in markdown(sweep)
    (sweep / "many").mkdir()
    (sweep / "many/run.yaml").write_text("")
    for line in lines[1:]:
        (sweep / line["folder"]).rename(sweep / "many" / line["folder"])
        line["folder"] = f"many/{line['folder']}"
    write_lines(sweep, lines)
    assert "trained in 10.0 minutes in all" in markdown(sweep)
