"""A run: what has to hold before it starts, what its folder says, what comes out."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml

from dsp_fairseq.cli.run import with_arguments
from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments import run as run_folder
from dsp_fairseq.experiments.checks import check_data, check_folder, check_start, prepare_data
from dsp_fairseq.experiments.result import generation_speed, valid_loss
from dsp_fairseq.experiments.run import RUN_FILE, Run, read_run, updates_done
from dsp_fairseq.pruning.resume import mend_checkpoints


def _arguments(**values):
    given = {"set": [], "num_of_heads": None, "seed": None, "save_dir": None}
    return Namespace(**{**given, "threads": None, "processes": None, **values})


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
    (folder / RUN_FILE).write_text(yaml.safe_dump(run_folder.describe(run)))
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
    (folder / RUN_FILE).write_text(yaml.safe_dump(run_folder.describe(run)))
    (folder / "checkpoint_last.pt").touch()
    check_folder(run)
    start.write_bytes(b"two")
    with pytest.raises(PruningError, match=r"not the checkpoint that .*run started from"):
        check_folder(run)
    start.unlink()
    check_folder(run)


def _checkpoint(path: Path, updates: int) -> None:
    history = [{"num_updates": updates}]
    torch.save({"model": {}, "args": Namespace(), "optimizer_history": history}, path)


def test_a_checkpoint_that_a_kill_cut_off_is_replaced(tmp_path):
    best, last = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    newest = tmp_path / "checkpoint_1_9.pt"
    _checkpoint(newest, 9)
    _checkpoint(best, 7)
    last.write_bytes(best.read_bytes()[:100])
    mend_checkpoints(tmp_path)
    assert last.read_bytes() == newest.read_bytes()

    best.write_bytes(last.read_bytes()[:100])
    mend_checkpoints(tmp_path)
    assert not best.exists()
    assert last.read_bytes() == newest.read_bytes()

    newest.unlink()
    last.write_bytes(b"PK")
    mend_checkpoints(tmp_path)
    assert not last.exists()


@pytest.mark.parametrize(("metric", "expected"), [("loss", 4.5), ("bleu", None)])
def test_validation_loss_is_that_which_chose_the_checkpoint(metric, expected):
    chosen = {"checkpoint": {"best_checkpoint_metric": metric}}
    assert valid_loss({"cfg": chosen, "extra_state": {"val_loss": 4.5}}) == expected


def test_values_come_from_the_logs(tmp_path):
    (tmp_path / "train.log").write_text(
        '2026 | INFO | train_inner | {"epoch": 1, "num_updates": "50"}\n'
        '2026 | INFO | train_inner | {"epoch": 1, "num_updates": "100"}\n'
        '2026 | INFO | train_inner | {"epoch": 1, "num_upd'
    )
    assert updates_done(tmp_path) == 100
    (tmp_path / "test.log").write_text(
        "Translated 1,000 sentences (13,031 tokens) in 5.2s (192.12 sentences/s, 2505.96 tokens/s)"
    )
    assert generation_speed(tmp_path, "test") == (5.2, 2505.96)
    assert updates_done(tmp_path / "none") is None
