"""``dsp-run``: a run is recorded, repeated, and trained by two processes."""

from __future__ import annotations

import json

import pytest
import yaml
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset

from dsp_fairseq.cli import run as run_command
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.experiments import execute as run_module

pytestmark = pytest.mark.usefixtures("warm")


def test_a_run_is_recorded_and_can_be_repeated_from_its_record(
    recipe, corpus, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "first"
    flags = ["--num-of-heads", "6", "--seed", "3", "--set", "gate-estimator=ste"]
    run_command.main([str(recipe), *flags, "--save-dir", str(folder)])
    assert "6 of 24 heads" in capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    assert (result["budget"], result["num_heads"], result["seed"]) == (6, 24, 3)
    assert (result["method"], result["cost_budget"]) == ("ste", None)
    assert sum(len(heads) for layers in result["kept"].values() for heads in layers) == 6
    assert result["parameters"] < result["parameters_dense"]
    assert result["scores"]["test"]["chrf"]["signature"].startswith("chrF2|")
    assert set(result["scores"]) == {"test"}
    assert result["valid_loss"] > 0

    record = yaml.safe_load((folder / "run.yaml").read_text())
    assert set(record["versions"]) == {"python", "torch", "fairseq", "dsp_fairseq", "sacrebleu"}
    assert record["seed"] == 3
    assert len(record["commands"]) == 2
    assert "--gate-estimator ste" in record["commands"][0]

    # From the record alone, elsewhere: the same model.
    again = tmp_path / "again"
    run_command.main([str(folder / "run.yaml"), "--save-dir", str(again)])
    repeated = json.loads((again / "result.json").read_text())
    for name in ("scores", "kept", "valid_loss", "parameters"):
        assert repeated[name] == result[name], name

    # What is done is not done again, and nothing is overwritten.
    monkeypatch.setattr(run_module, "run_logged", lambda *_: pytest.fail("it ran again"))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    run_command.main([str(recipe), *flags, "--save-dir", str(folder)])
    run_command.main([str(folder / "run.yaml")])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(CommandExit, match=r"other settings \(num-of-heads: 6 there, 8 here\)"):
        run_command.main([str(recipe), *flags, "--num-of-heads", "8", "--save-dir", str(folder)])

    moved = record | {"data_sha256": "0" * 64}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(moved))
    with pytest.raises(CommandExit, match="is not what this run was made from"):
        run_command.main([str(tmp_path / "other.yaml"), "--save-dir", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_a_model_of_the_other_direction_is_evaluated_in_it(recipe, corpus, tmp_path):
    folder = tmp_path / "reversed"
    pair = ["--set", "source-lang=en", "--set", "target-lang=de"]
    run_command.main([str(recipe), "--num-of-heads", "6", *pair, "--save-dir", str(folder)])
    references = dict(
        line.split("\t")
        for line in (folder / "test.out").read_text().splitlines()
        if line.startswith("T-")
    )
    german = Dictionary.load(str(corpus / "dict.de.txt"))
    binarised = load_indexed_dataset(str(corpus / "test.de-en.de"), german)
    assert references == {f"T-{i}": german.string(t, "@@ ") for i, t in enumerate(binarised)}
    assert json.loads((folder / "result.json").read_text())["scores"]["test"]["sacrebleu"]


@pytest.mark.slow
def test_two_processes_train_one_model(recipe, tmp_path):
    run_command.main(
        [
            *(str(recipe), "--num-of-heads", "6", "--save-dir", str(tmp_path / "two")),
            *("--processes", "2", "--set", "ddp-backend=legacy_ddp"),
        ]
    )
    assert "training on 2 devices" in (tmp_path / "two/train.log").read_text()
    assert json.loads((tmp_path / "two/result.json").read_text())["budget"] == 6
