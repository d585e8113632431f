import os

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.provenance import data_hash, device, file_hash, git_state, versions


def test_the_hash_of_data_is_that_of_its_contents(tmp_path):
    with pytest.raises(PruningError, match="holds no binarised data"):
        data_hash(tmp_path)
    for name in ("train.de-en.de.bin", "train.de-en.de.idx", "dict.de.txt"):
        (tmp_path / name).write_text(name)
    first = data_hash(tmp_path)
    (tmp_path / "preprocess.log").write_text("not data")
    assert data_hash(tmp_path) == first
    (tmp_path / "dict.de.txt").write_text("other")
    assert data_hash(tmp_path) != first


def test_a_file_that_changed_has_another_hash_even_at_the_same_size(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    first = file_hash(path)
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert file_hash(path) != first


def test_what_a_result_says_of_its_making():
    assert {"python", "torch", "fairseq"} <= {name.lower() for name in versions()}
    assert device()


def test_the_device_is_the_one_that_a_run_has(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.cuda.get_device_name", ["A100", "T4", "T4"].__getitem__)
    assert device() == "1 x A100"
    assert device(gpu=1) == "1 x T4"
    assert device(processes=2) == "2 x A100"
    assert device(cpu=True).startswith("CPU")


def test_the_state_of_the_sources():
    state = git_state()
    assert state is None or state["revision"]
