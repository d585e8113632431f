"""Recipes: reading, extending, flags."""

from __future__ import annotations

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.recipe import load_recipe
from dsp_fairseq.pruning.flags import PruningConfig


def test_a_recipe_extends_another(recipe, tmp_path):
    recipe()
    path = tmp_path / "child.yaml"
    path.write_text("extends: base.yaml\nname: child\ntrain: {lr: 1e-4, max-update: null}\n")
    child = load_recipe(path)
    assert child.name == "child"
    assert child.data == "data/x"
    assert child.train["lr"] == "1e-4"
    assert child.train["arch"] == "dsp_transformer_tiny"
    assert "max-update" not in child.train


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ndata: y\n", "'train' is missing"),
        ("name: x\ndata: y\ntrain: {a: 1}\ntrian: 1\n", "unknown key 'trian'"),
        ("name: x\ndata: y\ntrain: [a]\n", "must hold 'flag: value' lines"),
        ("name: x\ndata: y\ntrain: {a: 1}\nevaluate: [dev]\n", "must be a list of valid and test"),
        ("name: x\ndata: y\ntrain: {a: 1}\nprocesses: 0\n", "must be a number from 1"),
        ("extends: wrong.yaml\n", "extends itself"),
        ("extends: none.yaml\n", "cannot read .*none.yaml"),
        ("- a\n", "must hold 'key: value' lines"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_mistakes_in_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(PruningError, match=message):
        load_recipe(path)


def test_the_method_is_the_estimator_or_the_score(recipe):
    made = recipe()
    assert made.method == PruningConfig().gate_estimator
    assert made.with_train({"gate-estimator": "ste"}).method == "ste"
    assert recipe(score={"method": "michel"}).method == "michel"
