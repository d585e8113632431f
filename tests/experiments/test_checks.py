"""What has to hold before a run starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.checks import (
    check_data,
    check_flags,
    check_folder,
    check_start,
    prepare_data,
)
from dsp_fairseq.experiments.execute import describe
from dsp_fairseq.experiments.run import RUN_FILE, Run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "give --num-of-heads K"),
        ({"num-of-heads": 49}, "--num-of-heads 49 is not a whole number from 0 to 48"),
        ({"num-of-heads": 4, "max-updates": 3}, "unrecognized arguments: --max-updates 3"),
        ({"num-of-heads": 4, "max-update": "x"}, "argument --max-update: invalid int value"),
        ({"num-of-heads": 4, "arch": "no"}, "invalid choice"),
    ],
)
def test_wrong_flags_are_found_without_training(recipe, flags, message):
    with pytest.raises(PruningError, match=message):
        check_flags(recipe().with_train(flags), Path("x"))


def test_missing_data_and_start_name_the_commands_that_make_them(recipe, tmp_path):
    made = recipe(prepare="bash make-data.sh", start="none.pt", **{"make-start": "dsp-run dense"})
    with pytest.raises(
        PruningError, match=r"no data folder data/x: make it with: bash make-data.sh"
    ):
        check_data(Run(made, tmp_path))
    with pytest.raises(
        PruningError, match=r"no checkpoint none.pt .*: make it with: dsp-run dense"
    ):
        check_start(Run(made, tmp_path))


def test_missing_data_is_made_once_by_the_recipes_own_command(recipe, tmp_path, capfd):
    data, maker = tmp_path / "made", tmp_path / "make.sh"
    maker.write_text(f'echo "given $*"; mkdir {data}\n')
    made = recipe(data=str(data), prepare=f"bash {maker} --lowercase")
    for _ in range(2):
        prepare_data(made, "raw")
    assert capfd.readouterr().out.count("given --lowercase --from raw") == 1
    assert data.is_dir()


def test_data_that_cannot_be_made_is_an_error(recipe):
    with pytest.raises(PruningError, match="no data in data/x: that command ended with 3"):
        prepare_data(recipe(prepare="bash -c 'exit 3'"), "")
    with pytest.raises(PruningError, match="does not say how data/x is made"):
        prepare_data(recipe(), "")


def test_another_start_is_noticed_after_training_began(recipe, tmp_path):
    start, folder = tmp_path / "start.pt", tmp_path / "run"
    start.write_bytes(b"one")
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.de-en.de.bin").write_bytes(b"abc")
    (data / "dict.de.txt").write_text("a 1\n")
    (data / "prep.json").write_text("{}")
    folder.mkdir()
    run = Run(recipe(data=str(data), start=str(start)).with_train({"num-of-heads": 6}), folder)
    (folder / RUN_FILE).write_text(yaml.safe_dump(describe(run)))
    (folder / "checkpoint_last.pt").touch()
    check_folder(run)
    start.write_bytes(b"two")
    with pytest.raises(PruningError, match=r"not the checkpoint that .*run started from"):
        check_folder(run)
    start.unlink()
    check_folder(run)
