"""A run and the files of its folder."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from dsp_fairseq.cli.run import with_arguments
from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.checks import (
    check_data,
    check_folder,
    check_package,
)
from dsp_fairseq.experiments.execute import describe
from dsp_fairseq.experiments.record import RUN_FILE
from dsp_fairseq.experiments.run import Run, default_folder, read_run


def _arguments(**values):
    given = {"set": [], "num_of_heads": None, "seed": None, "save_dir": None, "user_dir": None}
    return Namespace(**{**given, "threads": None, "processes": None, **values})


def test_a_run_file_is_enough_to_run_again(recipe, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.de-en.de.bin").write_bytes(b"abc")
    (data / "dict.de.txt").write_text("a 1\n")
    (data / "prep.json").write_text("{}")
    made = recipe(data=str(data), start="start.pt").with_train({"num-of-heads": 6, "seed": 2})
    folder = tmp_path / "run"
    folder.mkdir()
    run = Run(made, folder, threads=2)
    (folder / RUN_FILE).write_text(yaml.safe_dump(describe(run)))
    again = read_run(folder / RUN_FILE)
    assert again.recipe == made
    assert (again.folder, again.threads) == (folder, 2)
    check_data(again)
    moved = with_arguments(again, _arguments(save_dir=tmp_path / "other"))
    assert moved.folder == tmp_path / "other"

    check_folder(run)
    with pytest.raises(PruningError, match=r"other settings \(seed: 2 there, 3 here\)"):
        check_folder(Run(made.with_train({"seed": 3}), folder))

    (data / "train.de-en.de.bin").write_bytes(b"abd")
    with pytest.raises(PruningError, match="is not what this run was made from"):
        check_data(again)
    with pytest.raises(PruningError, match="is not what this run was made from"):
        check_folder(run)


def test_a_run_goes_on_with_the_package_that_it_was_made_with(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, package, other, folder = (tmp_path / n for n in ("data", "pk", "other", "run"))
    for path in (data, package, other, folder):
        path.mkdir()
    (data / "train.de-en.de.bin").write_bytes(b"abc")
    (data / "dict.de.txt").write_text("a 1\n")
    (data / "prep.json").write_text("{}")
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("A = 1\n")
    made = recipe(data=str(data), **{"user-dir": "pk"}).with_train({"num-of-heads": 6})
    run = Run(made, folder)
    (folder / RUN_FILE).write_text(yaml.safe_dump(describe(run)))
    again = with_arguments(read_run(folder / RUN_FILE), _arguments(save_dir=tmp_path / "again"))
    check_package(again)
    check_folder(run)

    (package / "parts.py").write_text("A = 22\n")
    for check, refused in ((check_package, again), (check_folder, run)):
        with pytest.raises(PruningError, match=r"has changed since .* another --save-dir"):
            check(refused)
    check_package(with_arguments(again, _arguments(user_dir="other")))
    with pytest.raises(PruningError, match="has changed since"):
        check_package(with_arguments(again, _arguments(user_dir="./pk/")))
    (package / "parts.py").write_text("A = 1\n")
    check_folder(run)

    # An earlier version recorded nothing of it.
    record = yaml.safe_load((folder / RUN_FILE).read_text())
    del record["package_sha256"], record["recipe"]["user-dir"]
    (folder / RUN_FILE).write_text(yaml.safe_dump(record))
    check_folder(run)


def test_a_run_holds_the_prices_and_not_the_file_of_them(recipe, tmp_path):
    path = tmp_path / "costs.yaml"
    path.write_text("costs: {encoder.self: 0.25, decoder.self: 2}")
    priced = recipe().with_train({"head-costs": path, "cost-budget": 3})
    run = Run(priced, tmp_path / "run")
    path.unlink()
    train = run.recipe.settings()["train"]
    assert train["head-costs"] == "encoder.self=0.25,decoder.self=2"
    with pytest.raises(PruningError, match="cannot read --head-costs"):
        Run(priced, tmp_path / "run")


def test_the_link_of_a_further_budget_means_the_run_itself(recipe, tmp_path):
    (tmp_path / "run/k6").mkdir(parents=True)
    text = yaml.safe_dump({"format_version": 1, "recipe": recipe().settings()})
    (tmp_path / "run/run.yaml").write_text(text)
    (tmp_path / "run/k6/run.yaml").symlink_to("../run.yaml")
    folders = {read_run(tmp_path / f"run/{place}run.yaml").folder for place in ("", "k6/")}
    assert folders == {tmp_path / "run"}
    # A link to anywhere else is the file of the folder that it stands in.
    (tmp_path / "other").mkdir()
    (tmp_path / "other/run.yaml").symlink_to("../run/run.yaml")
    assert read_run(tmp_path / "other/run.yaml").folder == tmp_path / "other"


def test_the_folder_says_recipe_budget_and_seed(recipe):
    assert default_folder(recipe().with_train({"num-of-heads": 6})) == Path("runs/base/k6-s1")
    priced = recipe().with_train({"head-costs": "encoder.self=1", "cost-budget": 2.5, "seed": 3})
    assert default_folder(priced) == Path("runs/base/c2.5-s3")


def test_a_run_of_an_earlier_version_is_the_same_run(recipe, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name, content in (("train.de-en.de.bin", "abc"), ("dict.de.txt", "a 1"), ("prep.json", "")):
        (data / name).write_text(content)
    made = recipe(data=str(data), rank={"method": "michel"}, start="start.pt").with_train(
        {"num-of-heads": 6, "label-smoothing": "0.10"}
    )
    run = Run(made, tmp_path / "run")
    run.folder.mkdir()
    stored = describe(run)
    stored["recipe"]["score"] = stored["recipe"].pop("rank")
    # Values went through YAML's types.
    stored["recipe"]["train"]["label-smoothing"] = "0.1"
    (run.folder / RUN_FILE).write_text(yaml.safe_dump(stored))
    check_folder(run)
    assert read_run(run.folder / RUN_FILE).recipe.rank == {"method": "michel"}
    with pytest.raises(PruningError, match=r"\(label-smoothing: 0.1 there, 0.2 here\)"):
        check_folder(Run(made.with_train({"label-smoothing": 0.2}), run.folder))
