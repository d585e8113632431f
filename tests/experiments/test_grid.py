"""A grid, and the runs that it stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.grid import jobs_of


def test_a_grid_is_the_product_of_its_axes(grid):
    jobs = jobs_of(grid())
    assert [job.id for job in jobs] == [
        f"{method}-k{k}-s{seed}" for method in ("gumbel", "ste") for k in (6, 12) for seed in (1, 2)
    ]
    run = jobs[-1].run
    assert run.recipe.train["gate-estimator"] == "ste"
    assert run.recipe.train["num-of-heads"] == "12"
    assert run.recipe.seed == 2
    assert run.folder.name == jobs[-1].id


def test_methods_may_choose_heads_without_training(grid):
    job = jobs_of(grid(methods={"michel": {"score": {"method": "michel"}, "lr": "1e-4"}}))[0]
    assert job.run.recipe.rank == {"method": "michel"}
    assert job.run.recipe.train["lr"] == "1e-4"
    assert not {"score", "rank"} & set(job.run.recipe.train)


def test_flags_of_generation_hold_for_all_runs(grid, tmp_path):
    made = grid(generate={"max-len-b": 9}, dense={"recipe": str(tmp_path / "recipe.yaml")})
    for job in jobs_of(made):
        assert job.run.recipe.generate["max-len-b"] == "9"


def test_runs_start_from_the_dense_run_of_the_grid(grid, tmp_path):
    assert jobs_of(grid(dense="runs/d"))[0].run.recipe.start == "runs/d/checkpoint_best.pt"
    dense = {"recipe": str(tmp_path / "recipe.yaml"), "folder": "runs/e", "train": {"lr": 1}}
    jobs = jobs_of(grid(dense=dense))
    assert jobs[0].id == "dense"
    assert jobs[0].run.folder == Path("runs/e")
    assert jobs[0].run.recipe.train["lr"] == "1"
    assert jobs[1].run.recipe.start == "runs/e/checkpoint_best.pt"


def test_runs_with_a_teacher_learn_from_the_dense_run_of_the_grid(grid, tmp_path):
    made = grid(train={"distill-from": "x.pt"}, dense="runs/d", methods={"a": {}, "b": {"lr": 1}})
    teachers = {job.run.recipe.teacher for job in jobs_of(made)}
    assert teachers == {"runs/d/checkpoint_best.pt"}
    own = {"a": {"distill-from": None}, "b": {"distill-from": "y.pt"}}
    made = grid(train={"distill-from": "x.pt"}, dense="runs/d", methods=own)
    assert {job.run.recipe.teacher for job in jobs_of(made)} == {None, "y.pt"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"budgets": 6}, "'budgets' must be a list of whole numbers"),
        ({"seeds": [1, 1]}, "'seeds' has a number twice"),
        ({"methods": ["gumbel"]}, "'methods' must hold"),
        ({"methods": {"a/b": {}}}, "'methods' must hold"),
        ({"methods": {"dense": {}}}, "'methods' must hold"),
        ({"budget": [6]}, "unknown key 'budget'"),
        ({"methods": {"many": {"budgets": [6]}}}, "many: 'budgets' can only be 'all'"),
        ({"recipe": None}, "'recipe' is missing"),
        ({"dense": {"folder": "x"}}, "'dense' must be a folder"),
    ],
)
def test_mistakes_in_grids_are_refused(grid, content, message):
    with pytest.raises(PruningError, match=message):
        grid(**content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"methods": {"a": {"num-of-heads": 3}}}, "method a sets num-of-heads, which 'budgets'"),
        ({"methods": {"a": {"cost_budget": 3}}}, "method a sets cost-budget, which 'budgets' says"),
        ({"methods": {"a": {"--seed": 3}}}, "method a sets seed, which 'seeds' says"),
        ({"train": {"num_of_heads": 3}}, "'train' sets num-of-heads, which 'budgets' says"),
        ({"methods": {"a": {"rank": {"seed": 1}}}}, "a: 'rank' sets seed, which 'seeds' says"),
        ({"methods": {"a": {"score": {"num_of_heads": 1}}}}, "'rank' sets num-of-heads, which"),
    ],
)
def test_what_the_axes_say_is_said_nowhere_else(grid, content, message):
    with pytest.raises(PruningError, match=message):
        grid(**content)


def test_the_recipes_of_a_grid_are_evaluated_on_test(grid, recipe, tmp_path):
    """The grid's own, and that of its dense run."""
    recipe("valid", evaluate=["valid"])
    path = str(tmp_path / "valid.yaml")
    for content in ({"recipe": path}, {"dense": {"recipe": path}}):
        with pytest.raises(PruningError, match="recipe valid does not evaluate test"):
            grid(**content)


def test_a_method_may_take_a_flag_of_the_recipe_away(grid):
    (job,) = jobs_of(grid(methods={"a": {"finetune_updates": None}}, budgets=[6], seeds=[1]))
    assert "finetune-updates" not in job.run.recipe.train
    with pytest.raises(PruningError, match=r"grid.yaml, method a: the value of 'lr' must be text"):
        grid(methods={"a": {"lr": {"b": 1}}})


def test_budgets_are_costs_where_heads_have_prices(grid):
    jobs = jobs_of(grid(methods={"counted": {}, "priced": {"head-costs": "encoder.self=1"}}))
    assert [job.id for job in jobs[3:6]] == ["counted-k12-s2", "priced-c6-s1", "priced-c6-s2"]
    assert "cost-budget" not in jobs[3].run.recipe.train
    train = jobs[4].run.recipe.train
    assert train["cost-budget"] == "6" and "num-of-heads" not in train
    assert jobs[4].results == (("priced-c6-s1", jobs[4].run.folder),)


def test_parameters_of_submitit_keep_their_types(grid):
    assert grid(submitit={"timeout_min": 5, "cluster": "local"}).submitit == {
        "timeout_min": 5,
        "cluster": "local",
    }
