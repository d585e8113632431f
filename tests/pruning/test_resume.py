"""Checkpoints that a training goes on from."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from dsp_fairseq.errors import CommandExit
from dsp_fairseq.pruning.resume import mend_checkpoints


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


def test_weights_start_in_a_model_of_the_same_function(build, arguments, tmp_path):
    start = tmp_path / "dense.pt"
    made = {"activation_fn": "gelu", "encoder_learned_pos": True, "arch": "dsp_transformer"}
    torch.save({"model": build(24, **made).state_dict(), "args": arguments(24, **made)}, start)
    flags = {"finetune_from_model": str(start), "save_dir": str(tmp_path)}
    build(6, **made, **flags).parameters()
    for name, other in (("activation_fn", "relu"), ("encoder_learned_pos", False)):
        model = build(6, **{**made, name: other}, **flags)
        with pytest.raises(CommandExit, match=f"--{name.replace('_', '-')} {made[name]}, and this"):
            model.parameters()


@pytest.mark.parametrize("named", ["finetune_from_model", "restore_file"])
def test_weights_start_with_the_symbols_that_they_are_of(
    build, arguments, task, tmp_path, monkeypatch, named
):
    """As many other symbols, or the same in another order, fit the shapes and mean nothing."""
    for name, symbols in (
        ("ours", "a 1\nb 1\n"),
        ("alike", "a 9\nb 9\n"),
        ("turned", "b 1\na 1\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dict.de.txt").write_text(symbols)
    start = tmp_path / "start.pt"
    config = {"_name": "translation", "source_lang": "de", "target_lang": "en"}
    monkeypatch.setattr(task, "cfg", {**config, "data": str(tmp_path / "ours")}, raising=False)
    model = build(6)

    def begin(folder):
        cfg = {"model": arguments(6), "task": {**config, "data": str(tmp_path / folder)}}
        torch.save({"model": model.state_dict(), "args": None, "cfg": cfg}, start)
        build(6, **{named: str(start)}, save_dir=str(tmp_path)).parameters()

    begin("alike")
    begin("gone")
    with pytest.raises(CommandExit, match=r"dict\.de\.txt has other symbols or another order"):
        begin("turned")


COST = {"num_of_heads": None, "head_costs": "encoder.self=1,decoder.self=2,decoder.cross=2"}


@pytest.mark.parametrize(
    ("first", "then", "refused"),
    [
        ({"num_of_heads": 24}, {"num_of_heads": 6}, "is for 24 heads, and this one for 6"),
        ({"num_of_heads": "12,6"}, {"num_of_heads": "6,12"}, "is for 12 and 6 heads"),
        ({**COST, "cost_budget": 20}, {**COST, "cost_budget": 2}, "checkpoint_best.pt could stay"),
        ({**COST, "cost_budget": 20}, {"num_of_heads": 6}, "checkpoint_best.pt could stay"),
        (
            {**COST, "cost_budget": 20},
            {**COST, "cost_budget": 20, "head_costs": COST["head_costs"].replace("1", "1.5")},
            "or add --reset-meters",
        ),
        ({**COST, "cost_budget": "20"}, {**COST, "cost_budget": 20.0}, None),
        ({"num_of_heads": 24}, {"num_of_heads": 6, "reset_meters": True}, None),
        ({"num_of_heads": 24}, {"num_of_heads": 6, "reset_optimizer": True}, None),
    ],
)
def test_a_training_goes_on_for_its_own_budgets(build, arguments, tmp_path, first, then, refused):
    """Its best checkpoint is compared with what comes."""
    weights = build(6).state_dict()
    state = {"model": weights, "args": arguments(**first), "extra_state": {"best": 4.0}}
    torch.save(state, tmp_path / "checkpoint_last.pt")
    model = build(**then, save_dir=str(tmp_path))
    if refused:
        with pytest.raises(CommandExit, match=refused):
            model.parameters()
    else:
        model.parameters()
    start = tmp_path / "start.pt"
    (tmp_path / "checkpoint_last.pt").rename(start)
    build(**then, save_dir=str(tmp_path), finetune_from_model=str(start)).parameters()
