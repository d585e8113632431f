"""The paired tests of a report, and who is called ahead."""

from __future__ import annotations

import re
import shutil
from types import SimpleNamespace

import pytest
from made_up_sweep import make_sweep
from report_helpers import give_costs, read_lines, table_rows, write_lines
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from dsp_fairseq.evaluation.generated import read_generated
from dsp_fairseq.experiments.results import read_sweep
from dsp_fairseq.report.significance import Comparison, Paired, gather


def test_the_paired_test_is_sacrebleus_on_detokenised_text(written, monkeypatch):
    sweep, folder = written
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    plain = [
        [line.replace(" .", ".").replace(" ,", ",") for line in read_generated(path)[0]]
        for path in (sweep.parent / "dense-s1/test.out", sweep / "ste-k6-s2/test.out")
    ]
    references = (sweep.parent / "data/raw/test.tgt").read_text().splitlines()
    _, scores = PairedTest(
        list(zip("ab", plain, strict=True)),
        {"BLEU": BLEU()},
        [references],
        test_type="ar",
        n_samples=1000,
    )()
    row = next(r for r in table_rows((folder / "report.md").read_text(), "minutes")
               if r["run"] == ["ste-k6-s2"])  # fmt: skip
    assert row["p"] == [f"{scores['BLEU'][1].p_value:.3f}"]
    assert scores["BLEU"][1].p_value < 0.05
    assert row["dense"] == [f"{scores['BLEU'][0].score:.2f}"]


def test_identical_outputs_are_no_significant_difference(small):
    """sacreBLEU itself gives them the smallest p there is."""
    lines = read_lines(small)
    shutil.copy(small.parent / "dense-s1/test.out", small / "gumbel-k6-s1/test.out")
    next(x for x in lines if x["id"] == "gumbel-k6-s1")["scores"] = lines[0]["scores"]
    write_lines(small, lines)
    (recipe,) = gather(read_sweep(small))
    assert recipe.against_dense["gumbel-k6-s1"].difference == 0.0
    assert recipe.against_dense["gumbel-k6-s1"].p_value == 1.0
    assert recipe.against_dense["gumbel-k6-s2"].significant


def test_a_result_without_a_head_map_is_compared_as_the_others(small):
    lines = read_lines(small)
    next(x for x in lines if x["id"] == "gumbel-k6-s1")["kept"] = {}
    write_lines(small, lines)
    (recipe,) = gather(read_sweep(small))
    assert recipe.against_dense.keys() >= {"gumbel-k6-s1", "gumbel-k6-s2"}


def test_an_output_of_other_data_is_left_out(small):
    path = small / "gumbel-k6-s1/test.out"
    path.write_text(re.sub(r"^(T-\d+\t).*$", r"\1zz yy", path.read_text(), flags=re.MULTILINE))
    (recipe,) = gather(read_sweep(small))
    assert "gumbel-k6-s1" not in recipe.against_dense
    assert "gumbel-k6-s2" in recipe.against_dense


def test_a_run_is_paired_with_the_dense_run_of_its_seed(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("ste",), (6,), (1, 2, 3), (2, 1), sentences=24)
    (recipe,) = gather(read_sweep(sweep))
    partners = {run.seed: recipe.partner(run).seed for run in recipe.runs}
    assert partners == {1: 1, 2: 2, 3: 1}
    assert len(recipe.against_dense) == 3


def _run(method: str, seed: int) -> SimpleNamespace:
    """As much of a run as a verdict needs."""
    return SimpleNamespace(method=method, seed=seed)


def _methods(comparison: Comparison) -> tuple[str, str]:
    return comparison.runs[0].method, comparison.baseline[0].method


def _pair(difference: float, p: float) -> Paired:
    return Paired(difference, p, "BLEU|x")


@pytest.mark.parametrize(
    ("seeds", "pairs", "verdict"),
    [
        (3, [_pair(1.0, 0.01)] * 3, "a is ahead"),
        (3, [_pair(1.0, 0.01)] * 2 + [_pair(1.0, 0.06)], "not told apart"),
        (3, [_pair(1.0, 0.01)] * 2 + [_pair(-1.0, 0.01)], "not told apart"),
        (2, [_pair(9.0, 0.001)] * 2, "fewer than three seeds: no ranking"),
        (3, [_pair(9.0, 0.001)] * 2, "a paired test is missing: no ranking"),
        (4, [_pair(9.0, 0.001)] * 3, "a paired test is missing: no ranking"),
    ],
)
def test_a_ranking_needs_three_seeds_that_agree(seeds, pairs, verdict):
    ahead, behind = ([_run(method, seed) for seed in range(seeds)] for method in "ab")
    assert Comparison(ahead, behind, pairs).verdict == verdict


def test_methods_are_ranked_with_three_seeds(written):
    rows = table_rows((written[1] / "report.md").read_text(), "what it says")
    assert [row["heads"] for row in rows] == [["6"], ["12"]]
    for row in rows:
        assert row["seeds"] == ["3"]
        assert float(row["difference"][0]) > 0
        ahead = f"{row['higher mean'][0]} is ahead"
        expected = ahead if row["p \\< 0.05"] == ["3 of 3"] else "not told apart"
        assert row["what it says"] == [expected]
    assert "no ranking" not in (written[1] / "report.md").read_text()


def test_fewer_than_three_seeds_are_not_ranked(tmp_path, markdown):
    sweep = make_sweep(tmp_path / "sweep", seeds=(1, 2), budgets=(6,), sentences=24)
    text = markdown(sweep)
    (row,) = table_rows(text, "what it says")
    assert row["what it says"] == ["fewer than three seeds: no ranking"]
    assert "Fewer than three seeds: no ranking of gumbel at 6 heads (2), ste at 6 heads (2)" in text


def test_a_method_of_one_seed_cannot_lead_those_that_can_be_ranked(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("a", "b", "c"), (6,), sentences=24)
    lines = [x for x in read_lines(sweep) if x["method"] != "a" or x["seed"] == 1]
    for line in lines:
        if line["method"] == "a":
            line["scores"]["test"]["sacrebleu"]["score"] = 99.0
    write_lines(sweep, lines)
    (recipe,) = gather(read_sweep(sweep))
    verdicts = {_methods(c): c.verdict for c in recipe.contests}
    assert len(verdicts) == 2
    assert {pair for pair in verdicts if "a" in pair} == {("a", "b")}
    assert verdicts["a", "b"] == "fewer than three seeds: no ranking"


def test_methods_are_compared_on_the_seeds_that_both_have(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ("a", "b"), (6,), sentences=24)
    lines = [x for x in read_lines(sweep) if (x["method"], x["seed"]) != ("b", 3)]
    for line in lines:
        # On seeds 1 and 2 b is ahead; a has a lucky third.
        score = {"a": 99.0 if line["seed"] == 3 else 20.0, "b": 21.0}.get(line["method"], 30.0)
        line["scores"]["test"]["sacrebleu"]["score"] = score
    write_lines(sweep, lines)
    ((contest,),) = (recipe.contests for recipe in gather(read_sweep(sweep)))
    assert (*_methods(contest), contest.difference) == ("b", "a", 1.0)


def test_methods_are_compared_at_one_budget_in_cost(tmp_path):
    """Whatever number of heads it keeps; and never with a method that counts them."""
    sweep = make_sweep(tmp_path / "sweep", ("by-cost", "count"), (20, 23), sentences=12)
    lines = give_costs(sweep)
    others = [
        x | {"id": f"other-{x['id']}", "method": "other"} for x in lines if "-c13-" in x["id"]
    ]
    write_lines(sweep, lines + others)
    (recipe,) = gather(read_sweep(sweep))
    (contest,) = recipe.contests
    assert {*_methods(contest)} == {"by-cost", "other"}
    assert contest.seeds == len(contest.tests) == 3
    assert {run.cost_budget for run in (*contest.runs, *contest.baseline)} == {13.0}


def test_outputs_that_are_missing_or_of_other_data_are_not_tested(small, markdown):
    (small / "gumbel-k6-s1/test.out").unlink()
    path = small / "gumbel-k6-s2/test.out"
    path.write_text(path.read_text().replace("H-3\t", "X-3\t").replace("T-3\t", "X-3\t"))
    text = markdown(small)
    assert re.search(r"Without a paired test .*: gumbel-k6-s1, gumbel-k6-s2\.", text)
    assert [row["p \\< 0.05"] for row in table_rows(text, "parameters")] == [
        ["–"],
        ["–"],
        ["2 of 2"],
    ]


def test_without_the_data_folder_tests_are_on_tokens(small, markdown):
    shutil.rmtree(small.parent / "data")
    text = markdown(small)
    assert (
        "Paired approximate randomisation on tokenised text, since the data is not there as it was"
        in text
    )
    assert "tok:none" in text
    assert "What is missing" not in text
