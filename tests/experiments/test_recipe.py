"""Recipes: reading, extending, flags."""

from __future__ import annotations

import pytest

from dsp_fairseq import USER_DIR
from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.commands import arguments_of
from dsp_fairseq.experiments.recipe import load_recipe


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
        ("name: x\ndata: y\ntrain: {a: 1}\nprocesses: 0\n", "must be 1 or more"),
        ("extends: wrong.yaml\n", "extends itself"),
        ("extends: none.yaml\n", "cannot read .*none.yaml"),
        ("- a\n", "must hold 'key: value' lines"),
        ("a: [\n", "is not YAML"),
        ("a: !!map x\n", "is not YAML"),
    ],
)
def test_mistakes_in_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(PruningError, match=message):
        load_recipe(path)


def _read(tmp_path, train, **content):
    path = tmp_path / "types.yaml"
    lines = [f"{key}: {value}" for key, value in {"name": "x", "data": "y", **content}.items()]
    path.write_text("\n".join([*lines, "train:", *(f"  {line}" for line in train)]) + "\n")
    return load_recipe(path)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("no", "no"),
        ("off", "off"),
        ("y", "y"),
        ("012", "012"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        ("1e4", "1e4"),
        ("1_024", "1_024"),
        ("0.10", "0.10"),
        (".5", ".5"),
        ("2020-01-01", "2020-01-01"),
        (".inf", ".inf"),
        ("'True'", "True"),
        ("'null'", "null"),
        ("${HOME}", "${HOME}"),
        ("a  b", "a b"),
        ("[5e-3]", "5e-3"),
        ("[6, 12]", "6,12"),
        ("[0.9, 0.98]", "0.9,0.98"),
        ("[no, 010]", "no,010"),
        ("true", True),
    ],
)
def test_a_flag_is_text_as_it_is_written(tmp_path, written, text):
    assert _read(tmp_path, [f"flag: {written}"]).train == {"flag": text}


def test_languages_budgets_and_seeds_are_what_the_file_says(tmp_path):
    made = _read(tmp_path, ["source-lang: no", "num-of-heads: 012", "seed: 010"], name="no")
    assert made.name == "no"
    assert arguments_of(made.train)[:2] == ["--source-lang", "no"]
    assert made.budgets == ["012"]
    assert made.seed == 10
    assert _read(tmp_path, ["num-of-heads: [6, 12]"]).budgets == ["6", "12"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flag: {beam: 5}", "the value of 'flag' must be text, in quotes"),
        ("flag: [[1]]", "the value of 'flag' must be text, in quotes"),
        ("flag: 1\n  flag: 2", "is not YAML: it names 'flag' twice"),
        ("flag: !!python/object:x 1", "is not YAML"),
        ("flag: &a [*a]", "an invalid value"),
        ("flag: ${", "an invalid value"),
    ],
)
def test_values_that_are_no_text_are_refused(tmp_path, line, message):
    with pytest.raises(PruningError, match=message):
        _read(tmp_path, [line])


def test_two_spellings_of_one_flag_are_refused(tmp_path):
    with pytest.raises(PruningError, match="'train' names max-update twice, in two spellings"):
        _read(tmp_path, ["max-update: 5", "max_update: 6"])


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("1e-3", "0.001", True),
        (5, "5.0", True),
        ("10000001", "10000002", False),
        (True, "1", False),
    ],
)
def test_a_number_is_one_in_any_spelling(recipe, here, there, same):
    one, two = (recipe(train={"lr": v}, generate={"lenpen": v}) for v in (here, there))
    assert (not one.differences(two)) is same
    assert (one.evaluation() == two.evaluation()) is same


def test_a_package_is_one_in_any_spelling_of_its_folder(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = recipe(**{"user-dir": "pk/x"})
    for same in ("pk/x/", "./pk/x", str(tmp_path / "pk/x")):
        assert not one.differences(one.with_package(same))
    assert one.differences(one.with_package("pk/y"))
    # What is given without it too.
    assert recipe(**{"user-dir": str(USER_DIR)}).user_dir is None
    assert one.with_package(f"{USER_DIR}/").own_folder is None
    assert one.differences(recipe())


def test_the_earlier_name_of_rank_is_read_too(recipe, tmp_path):
    made = recipe(start="dense.pt", score={"method": "michel"})
    assert made.rank == {"method": "michel"}
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nrank: {max-batches: 20}\n")
    assert load_recipe(child).rank == {"method": "michel", "max-batches": "20"}
