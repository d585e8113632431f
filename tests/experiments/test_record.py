"""What the record of a run says, of this version and of earlier ones."""

from __future__ import annotations

import pytest
import yaml
from made_up_sweep import make_sweep

from dsp_fairseq.experiments.provenance import data_hash
from dsp_fairseq.experiments.record import data_folder, read_record
from dsp_fairseq.experiments.results import read_sweep

SAID = "name: x, data: d, train: {lr: 1}"


@pytest.fixture
def small(tmp_path):
    """One method, two budgets, two seeds."""
    return make_sweep(tmp_path / "sweep", methods=("gumbel",), seeds=(1, 2), sentences=24)


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ("data: {data}", True),
        ("recipe: {{name: x, data: {data}}}", True),
        ("data: ../../data", True),
        ("data: /nowhere", False),
        ("recipe: x", False),
        ("[", False),
    ],
)
def test_the_data_folder_is_what_the_run_recorded(small, recorded, found):
    run = next(run for run in read_sweep(small).runs if not run.is_dense)
    data = small.parent / "data"
    (run.folder / "run.yaml").write_text(recorded.format(data=data))
    folder = data_folder(run.folder)
    assert (folder is not None and folder.samefile(data)) == found


def test_data_that_was_made_again_is_not_the_runs_data(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "prep.json").write_text("{}")
    (data / "train.de-en.de.bin").write_bytes(b"one")
    record = {"recipe": {"name": "x", "data": str(data)}, "data_sha256": data_hash(data)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(record))
    assert data_folder(tmp_path) == data
    (data / "train.de-en.de.bin").write_bytes(b"two")
    assert data_folder(tmp_path) is None
    (data / "train.de-en.de.bin").unlink()
    assert data_folder(tmp_path) is None


def test_a_record_says_what_it_has(tmp_path):
    assert read_record(tmp_path).recipe is None
    (tmp_path / "run.yaml").write_text(f"recipe: {{{SAID}, bogus: 1}}\ndata_sha256: ab\n")
    record = read_record(tmp_path)
    assert (record.recipe, record.data, record.data_sha256) == (None, "d", "ab")
    (tmp_path / "run.yaml").write_text(f"recipe: {{{SAID}, generate: {{beam: 5}}}}\n")
    assert read_record(tmp_path).recipe.generate == {"beam": "5"}
