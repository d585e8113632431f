"""A training whose budget is in cost: its log, resume, head map, generation and export."""

from __future__ import annotations

import json
import re

import pytest
import torch
import yaml
from saved_models import read_head_map

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.checkpoints.formats import trained_budgets
from dsp_fairseq.cli import average as average_command
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.cli import heads as heads_command
from dsp_fairseq.cli import prune as prune_command
from dsp_fairseq.cli import rank_heads as rank_heads_command
from dsp_fairseq.cli import run as run_command
from dsp_fairseq.cli import sweep as sweep_command

PRICES = {"encoder.self": 0.3, "decoder.self": 1.5, "decoder.cross": 1.2}
BUDGET = ("--cost-budget", "7.1")


@pytest.fixture
def flags(folder):
    path = folder / "costs.yaml"
    path.write_text(yaml.safe_dump({"costs": PRICES}, sort_keys=False))
    return ("--head-costs", path, *BUDGET, "--keep-at-least", "decoder.cross=1")


@pytest.fixture
def whole(train, folder, flags):
    """Ten updates, frozen after six; its log stands beside it."""
    run = folder / "whole"
    if not run.exists():
        outcome = train(run, *flags, "--save-interval-updates", "3")
        assert outcome.status == 0, outcome.message
        (run / "log").write_text(outcome.log)
    return run


def _cost(head_map) -> float:
    return sum(price * head_map.count(kind)[0] for kind, price in PRICES.items())


def _spends(head_map) -> bool:
    """Whether the budget is kept to, with no room for another head."""
    counts = {kind: head_map.count(kind) for kind in PRICES}
    cheapest = min(PRICES[kind] for kind, (kept, all_) in counts.items() if kept < all_)
    return 7.1 - cheapest < _cost(head_map) <= 7.1 + 1e-9


def test_the_log_says_what_the_heads_cost(whole):
    log = (whole / "log").read_text()
    assert "keeping heads that cost at most 7.1 of 24 heads" in log
    costs = [float(value) for value in re.findall(r"\bhead_cost=([\d.]+)", log)]
    # What is left over pays for no closed head, and the dearest costs 1.5.
    assert costs and all(7.1 - 1.5 < cost <= 7.1 for cost in costs)
    head_map = read_head_map(whole / "checkpoint_last.pt")
    kept = f"{head_map.budget} (of cost {_cost(head_map):g}, at most 7.1) of 24 heads"
    assert f"froze {kept} at update 6" in log


def test_a_frozen_checkpoint_has_a_mask_like_any_other(whole, generate):
    path = whole / "checkpoint_last.pt"
    checkpoint, head_map = load_checkpoint(path), read_head_map(path)
    assert head_map.frozen and _spends(head_map)
    assert trained_budgets(checkpoint.weights["head_gates.budgets"]) == [head_map.budget]
    assert checkpoint.args.head_costs == "encoder.self=0.3,decoder.self=1.5,decoder.cross=1.2"
    # What reads counts only finds a count.
    overrides = {"num_of_heads": str(head_map.budget), "cost_budget": None, "head_costs": None}
    counted = generate(path, "--model-overrides", str(overrides))
    assert counted.status == 0 and counted.hypotheses == generate(path).hypotheses


def test_resuming_is_the_run_that_was_not_interrupted(train, whole, flags, folder):
    run = folder / "resumed"
    for updates in ("3", "8", "10"):
        assert train(run, *flags, "--max-update", updates).status == 0
    a, b = (load_checkpoint(f / "checkpoint_last.pt").weights for f in (whole, run))
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def test_another_budget_is_refused_after_the_freeze(train, whole, flags, generate):
    path = whole / "checkpoint_last.pt"
    outcome = generate(path, "--model-overrides", "{'cost_budget': '20'}")
    assert outcome.status == 1 and "--cost-budget 20 would keep others" in outcome.message
    outcome = generate(path, "--model-overrides", "{'num_of_heads': '6'}")
    assert outcome.status == 1 and "are two budgets: give one" in outcome.message


def test_dsp_heads_says_cost_and_budget(whole, capsys):
    for name, standing in (
        ("checkpoint_last.pt", "; frozen"),
        ("checkpoint_1_3.pt", "per cost so"),
    ):
        path = str(whole / name)
        cost = _cost(read_head_map(whole / name))
        heads_command.main([path])
        out = capsys.readouterr().out
        assert f"they cost {cost:g}, at most 7.1 of 24" in out and standing in out
        heads_command.main([path, "--json", "-"])
        content = json.loads(capsys.readouterr().out)
        assert content["cost"] == pytest.approx(cost) and content["cost_budget"] == 7.1
    with pytest.raises(SystemExit, match="leave out --num-of-heads"):
        heads_command.main([path, "--num-of-heads", "8"])


def test_an_export_keeps_these_heads_and_their_cost(whole, folder, generate, capsys):
    path, output = whole / "checkpoint_last.pt", folder / "pruned.pt"
    export_command.main([str(path), "--output", str(output)])
    assert generate(output).hypotheses == generate(path).hypotheses
    original, head_map = read_head_map(path), read_head_map(output)
    assert head_map.mask.equal(original.mask)
    assert head_map.cost == original.cost
    capsys.readouterr()
    heads_command.main([str(output)])
    assert f"they cost {original.cost:g}, at most 7.1 of 24" in capsys.readouterr().out


def test_an_average_keeps_these_heads(whole, folder, generate):
    paths = [whole / name for name in ("checkpoint_1_9.pt", "checkpoint_last.pt")]
    average_command.main([*map(str, paths), "--output", str(folder / "average.pt")])
    head_map = read_head_map(folder / "average.pt")
    assert head_map.mask.equal(read_head_map(paths[0]).mask)
    assert generate(folder / "average.pt").status == 0


def test_a_dense_start_is_pruned_to_a_cost(train, folder, flags):
    """Pipelined, and with prices on the command line."""
    assert train(folder / "dense", "--num-of-heads", "24", "--max-update", "2").status == 0
    outcome = train(
        *(folder / "pipelined", "--pruning-mode", "pipelined", "--max-update", "8"),
        *("--finetune-from-model", folder / "dense/checkpoint_last.pt", *BUDGET),
        *("--head-costs", ",".join(f"{kind}={price}" for kind, price in PRICES.items())),
    )
    assert outcome.status == 0
    assert _spends(read_head_map(folder / "pipelined/checkpoint_last.pt"))


@pytest.mark.usefixtures("warm")
def test_a_sweep_has_budgets_in_cost(recipe, tmp_path):
    """Trained, and ranked and then trained; what a run says is what its checkpoint keeps."""
    dense = tmp_path / "dense"
    run_command.main([str(recipe), "--num-of-heads", "24", "--save-dir", str(dense)])
    recipe_with_start = tmp_path / "recipe.yaml"
    start = {"start": str(dense / "checkpoint_best.pt"), **yaml.safe_load(recipe.read_text())}
    recipe_with_start.write_text(yaml.safe_dump(start))
    prices = tmp_path / "costs.yaml"
    prices.write_text(yaml.safe_dump({"costs": PRICES}))
    grid = {
        "recipe": str(recipe_with_start),
        "folder": str(tmp_path / "runs"),
        "methods": {"learned": {}, "norm": {"rank": {"method": "weight-norm"}}},
        "train": {"head-costs": str(prices)},
        "budgets": [7],
        "seeds": [1],
        "dense": str(dense),
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    with pytest.raises(SystemExit) as end:
        sweep_command.main([str(tmp_path / "grid.yaml")])
    assert end.value.code == 0
    lines = [json.loads(line) for line in (tmp_path / "runs/runs.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} >= {"learned-c7-s1", "norm-c7-s1"}
    for line in lines:
        if line["method"] != "dense":
            head_map = read_head_map(tmp_path / "runs" / line["id"] / "checkpoint_best.pt")
            assert _cost(head_map) <= 7 and head_map.cost_budget.limit == 7
            assert (line["budget"], line["cost_budget"]) == (head_map.budget, 7)


def test_heads_are_ranked_and_pruned_to_a_cost(train, folder, flags, corpus, generate, capsys):
    dense = folder / "ranked/checkpoint_last.pt"
    assert train(dense.parent, "--num-of-heads", "24", "--max-update", "2").status == 0
    given = [str(dense), "--data", str(corpus), "--cpu", "--method", "weight-norm"]
    given += [*map(str, flags), "--output"]
    rank_heads_command.main([*given, str(folder / "norm.pt")])
    head_map = read_head_map(folder / "norm.pt")
    assert head_map.frozen and _spends(head_map)
    out = capsys.readouterr().out
    kept = f"kept         {head_map.budget} of 24 heads, frozen; they cost {_cost(head_map):g}"
    assert kept in out
    assert generate(folder / "norm.pt").status == 0
    # The line that it prints for further training counts these heads.
    outcome = train(
        *(folder / "further", "--num-of-heads", str(head_map.budget), "--max-update", "2"),
        *("--finetune-from-model", folder / "norm.pt"),
    )
    assert outcome.status == 0
    further = read_head_map(folder / "further/checkpoint_last.pt")
    assert further.mask.equal(head_map.mask)
    prune_command.main([*given, str(folder / "norm-pruned.pt"), "--no-repair"])
    assert read_head_map(folder / "norm-pruned.pt").mask.equal(head_map.mask)
    with pytest.raises(SystemExit, match="--num-of-heads and --cost-budget are two budgets"):
        prune_command.main([*given, str(folder / "x.pt"), "--num-of-heads", "6"])
    with pytest.raises(SystemExit, match="--num-of-heads is missing"):
        rank_heads_command.main([*given[:6], "--output", str(folder / "x.pt")])
