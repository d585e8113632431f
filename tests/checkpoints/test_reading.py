"""Reading files that are no checkpoint, or hold code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from saved_models import PickledCode, read_head_map

from dsp_fairseq.errors import PruningError


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(PruningError, match=r"cannot read .*none\.pt: No such file"):
        read_head_map(tmp_path / "none.pt")
    with pytest.raises(PruningError, match="Is a directory"):
        read_head_map(tmp_path)
    path = tmp_path / "file.pt"
    for content in (b"", b"some text\n", b"PK\x03\x04 cut off", bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(PruningError, match="it is of another kind, or damaged") as caught:
            read_head_map(path)
        assert "\n" not in str(caught.value)
    torch.save({"model": {}, "cfg": {"model": Path("x")}}, path)
    with pytest.raises(PruningError, match="it holds pathlib"):
        read_head_map(path)


def test_a_checkpoint_that_is_cut_off(gated, save):
    path = save(gated())
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PruningError, match="damaged"):
        read_head_map(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "no weights under 'model'"),
        ({"weights": {}}, "no weights under 'model'"),
        ({"model": {}}, "no model configuration"),
        ({"model": {}, "cfg": {"task": {}}}, "no model configuration"),
        ({"model": {}, "cfg": {"model": {}}}, "no head importance.* of an unnamed model"),
        ({"model": {}, "cfg": {"model": {"_name": "lstm"}}}, "no head importance.* of lstm"),
    ],
)
def test_foreign_checkpoints(tmp_path, state, message):
    path = tmp_path / "foreign.pt"
    torch.save(state, path)
    with pytest.raises(PruningError, match=message):
        read_head_map(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["model", "cfg", "extra_state", "last_optimizer_state"])
def test_pickled_code_is_refused_and_does_not_run(frozen, arguments, tmp_path, place, zipped):
    ran, path = tmp_path / "ran", tmp_path / "evil.pt"
    state = {"args": None, "cfg": {"model": arguments(6)}, "model": dict(frozen)}
    state[place] = {**state.get(place, {}), "evil": PickledCode(ran)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(PruningError, match=r"it holds posix\.mkdir"):
        read_head_map(path)
    assert not ran.exists()


def test_a_switch_that_would_run_code_is_refused(monkeypatch):
    from dsp_fairseq.checkpoints.reading import allow_checkpoint_types

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(PruningError, match="unset it"):
        allow_checkpoint_types()
