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
    state = git_state()
    assert state is None or state["revision"]
