"""dsp-average: what the mean is, and which checkpoints have none."""

from __future__ import annotations

import re

import pytest
import torch
from saved_models import read_head_map
from tiny_data import write_data

from dsp_fairseq.analysis.average import average_checkpoints, newest_checkpoints
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.cli.average import main
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.export.export import export_checkpoint
from dsp_fairseq.models.transformer import DspTransformerModel


@pytest.fixture
def save(arguments, task, tmp_path):
    """Writes a model with weights of its own as fairseq-train would; K = N without a budget."""

    def save_model(name, heads=range(6), *, k=None, frozen=True, updates=7, change=None, **flags):
        args = arguments(str(len(heads) if k is None else k), **flags)
        torch.manual_seed(sum(map(ord, name)) + updates)
        model = DspTransformerModel.build_model(args, task)
        gates = model.head_gates
        with torch.no_grad():
            gates.importance[list(heads)] += 1.0 + torch.rand(len(heads))
            gates.mask.copy_(gates.open_mask())
            gates.frozen.fill_(float(frozen and not gates.is_constant))
            gates.last_change.fill_(float(updates - 2))
        state = {
            "args": None,
            "cfg": {"model": args, "criterion": {"_name": "x"}, "optimizer": {"_name": "dsp_adam"}},
            "model": model.state_dict(),
            "optimizer_history": [{"num_updates": updates}],
            "extra_state": {"train_iterator": {"epoch": updates}, "best": 4.2},
            "last_optimizer_state": {"state": {0: torch.zeros(1000)}},
        }
        if change is not None:
            change(state)
        path = tmp_path / f"{name}.pt"
        torch.save(state, path)
        return path

    return save_model


def _refused(paths, tmp_path) -> str:
    with pytest.raises(PruningError) as stop:
        average_checkpoints(paths, tmp_path / "average.pt")
    assert not (tmp_path / "average.pt").exists()
    assert "\n" not in str(stop.value)
    return str(stop.value)


# ---- the mean


def test_the_mean_is_that_of_every_weight(save, tmp_path):
    paths = [save("a", updates=5), save("b", updates=9), save("c", updates=7)]
    output = tmp_path / "average.pt"
    average_checkpoints(paths, output)
    result = load_checkpoint(output).state
    states = [load_checkpoint(path).state for path in paths]
    assert list(result["model"]) == list(states[0]["model"])
    moved = 0
    for name, value in result["model"].items():
        given = torch.stack([state["model"][name] for state in states]).double()
        assert value.dtype == states[0]["model"][name].dtype
        if name == "head_gates.last_change":
            assert float(value) == 7.0
        else:
            torch.testing.assert_close(value, given.mean(0).to(value.dtype), rtol=0, atol=0)
            moved += not torch.equal(value, states[0]["model"][name])
    assert moved > 50
    assert "last_optimizer_state" not in result
    assert result["optimizer_history"] == [{"num_updates": 9}]
    assert result["extra_state"] == {"train_iterator": {"epoch": 9}}
    assert read_head_map(output).mask.tolist() == read_head_map(paths[0]).mask.tolist()


def test_sixteen_bit_weights_are_summed_in_double_precision(save, tmp_path):
    def small(state):
        state["model"] = {k: v.half() for k, v in state["model"].items()}
        state["model"]["decoder.layers.0.fc1.bias"].fill_(60000.0)

    paths = [save(name, change=small) for name in "abc"]
    average_checkpoints(paths, tmp_path / "average.pt")
    bias = load_checkpoint(tmp_path / "average.pt").weights["decoder.layers.0.fc1.bias"]
    assert bias.dtype == torch.float16
    assert bias.tolist() == [60000.0] * len(bias)


def test_tied_embeddings_stay_tied_and_are_stored_once(save, tmp_path):
    flags = {"share_all_embeddings": True, "share_decoder_input_output_embed": True}
    paths = [save(name, **flags) for name in "ab"]
    average_checkpoints(paths, tmp_path / "average.pt")
    weights = load_checkpoint(tmp_path / "average.pt").weights
    tied = ("encoder.embed_tokens.weight", "decoder.output_projection.weight")
    assert weights[tied[0]].data_ptr() == weights[tied[1]].data_ptr()
    assert "is [24, 16] in float32 and [24, 16] in float32, tied to" in _refused(
        [save("c", share_decoder_input_output_embed=True), paths[0]], tmp_path / "other"
    )


def test_one_checkpoint_is_a_copy_without_its_optimizer(save, tmp_path):
    path = save("a")
    main([str(path), "--output", str(tmp_path / "new/average.pt")])
    result, state = load_checkpoint(tmp_path / "new/average.pt").state, load_checkpoint(path).state
    assert all(torch.equal(result["model"][name], state["model"][name]) for name in state["model"])
    assert result["optimizer_history"] == state["optimizer_history"]


def test_exported_checkpoints(save, tmp_path, task):
    pruned = []
    for name in ("a", "bb"):
        pruned.append(tmp_path / f"{name}-pruned.pt")
        export_checkpoint(save(name), pruned[-1], "pruned")
    average = average_checkpoints(pruned, tmp_path / "average.pt")
    assert average.standing == "exported"
    state = load_checkpoint(tmp_path / "average.pt").state
    assert state["dsp_signature"].endswith("|averaged:2")
    model = DspTransformerModel.build_model(state["cfg"]["model"], task)
    model.load_state_dict(state["model"])
    assert read_head_map(tmp_path / "average.pt").budget == 6


def test_an_average_of_frozen_checkpoints_is_exported_as_the_mean_of_exports(save, tmp_path):
    paths = [save("a"), save("bb")]
    average_checkpoints(paths, tmp_path / "average.pt")
    export_checkpoint(tmp_path / "average.pt", tmp_path / "of-average.pt", "pruned")
    for path in paths:
        export_checkpoint(path, tmp_path / f"{path.stem}-pruned.pt", "pruned")
    average_checkpoints([tmp_path / "a-pruned.pt", tmp_path / "bb-pruned.pt"], tmp_path / "of.pt")
    one, other = (load_checkpoint(tmp_path / n).weights for n in ("of-average.pt", "of.pt"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("k", [0, 24])
def test_a_budget_without_a_choice_needs_no_freeze(save, tmp_path, k):
    paths = [save(name, k=k, frozen=False) for name in "ab"]
    assert average_checkpoints(paths, tmp_path / "average.pt").standing == "dense"


def test_fairseqs_own_transformer(build_stock, arguments, tmp_path):
    paths = []
    for updates in (1, 2):
        torch.manual_seed(updates)
        paths.append(tmp_path / f"{updates}.pt")
        state = {
            # As older versions of fairseq wrote it: no cfg.
            "args": arguments(arch="transformer"),
            "model": build_stock().state_dict(),
            "optimizer_history": [{"num_updates": updates}],
            "extra_state": {"train_iterator": {"epoch": updates}},
        }
        torch.save(state, paths[-1])
    average = average_checkpoints(paths, tmp_path / "average.pt")
    assert average.heads is None
    result = load_checkpoint(tmp_path / "average.pt").state
    assert result["args"].arch == "transformer"
    build_stock().load_state_dict(result["model"])


# ---- refusals


def test_different_masks_are_refused_with_the_heads(save, tmp_path):
    message = _refused([save("a"), save("b", [0, 1, 2, 3, 4, 23])], tmp_path)
    assert re.search(
        r"a.pt and \S*b.pt keep different heads.*only \S*a.pt keeps encoder.self.1 head 1; "
        r"only \S*b.pt keeps decoder.cross.1 head 3$",
        message,
    )
    far = save("c", range(12)), save("d", range(12, 24))
    assert "encoder.self.1 head 3 and 4 more; only" in _refused(far, tmp_path)


def test_exports_in_the_dense_shape_are_told_apart_by_their_zeros(save, tmp_path):
    dense = {}
    for name, heads in (("a", range(6)), ("bb", range(6)), ("c", range(5, 11))):
        dense[name] = tmp_path / f"{name}-dense.pt"
        export_checkpoint(save(name, heads), dense[name], "fairseq")
    average = average_checkpoints([dense["a"], dense["bb"]], tmp_path / "mean.pt")
    assert (average.standing, average.heads.budget) == ("exported", 6)
    message = _refused([dense["a"], dense["c"]], tmp_path)
    assert "keep different heads" in message and "only" in message
    assert "is exported and" in _refused([dense["a"], save("all", k=24)], tmp_path)


def test_models_of_two_directions_are_refused(save, tmp_path):
    def speaks(source, target):
        task = {"_name": "translation", "source_lang": source, "target_lang": target}
        return lambda state: state["cfg"].update(task=task)

    paths = [save("a", change=speaks("de", "en")), save("b", change=speaks("en", "de"))]
    assert "source_lang is de and en" in _refused(paths, tmp_path)

    def finds_out(state):
        speaks(None, None)(state)
        state["cfg"]["task"]["data"] = str(write_data(tmp_path / "data"))

    paths[0] = save("c", change=finds_out)
    assert "source_lang is de and en" in _refused(paths, tmp_path)


def test_unfrozen_checkpoints_are_refused(save, tmp_path):
    loose = save("loose", k=6, frozen=False)
    assert "loose.pt is not frozen: which 6 of 24 heads" in _refused([loose], tmp_path)
    assert "loose.pt is not frozen" in _refused([save("a"), loose], tmp_path)
    # The mask of the moment being the same does not make it final.
    assert "is not frozen" in _refused([loose, loose.rename(tmp_path / "x.pt")][1:], tmp_path)


def test_heads_are_the_same_at_each_budget(save, tmp_path):
    def order(*heads):
        def change(state):
            importance = state["model"]["head_gates.importance"]
            importance.copy_(torch.linspace(0.0, 0.1, 24))
            for rank, head in enumerate(heads):
                importance[head] = 10.0 - rank

        return change

    same = [save("a", range(24), k="24,3,2", change=order(1, 2, 3))]
    same.append(save("b", range(24), k="24,3,2", change=order(2, 1, 3)))
    for path in same:
        _freeze(path)
    average_checkpoints(same, tmp_path / "mean.pt")
    mean = load_checkpoint(tmp_path / "mean.pt")
    for k in (2, 3):
        kept = mean.head_map(k).mask.nonzero().flatten().tolist()
        assert kept == [1, 2, 3][:k]
    other = save("c", range(24), k="24,3,2", change=order(1, 2, 4))
    _freeze(other)
    assert "keep different heads" in _refused([same[0], other], tmp_path)


def _freeze(path):
    state = torch.load(path, weights_only=False)
    state["model"]["head_gates.frozen"].fill_(1.0)
    state["model"]["head_gates.mask"].fill_(1.0)
    torch.save(state, path)


def test_a_choice_that_is_open_beside_all_heads_is_refused(save, tmp_path):
    loose = save("loose", range(24), k="24,6", frozen=False)
    assert "loose.pt is not frozen: which 6 of 24 heads" in _refused([loose], tmp_path)


def test_kinds_do_not_mix(save, tmp_path):
    frozen, dense = save("a"), save("dense", k=24)
    assert "is frozen and" in _refused([frozen, dense], tmp_path)
    export_checkpoint(frozen, tmp_path / "pruned.pt", "pruned")
    assert "pruned.pt is exported" in _refused([frozen, tmp_path / "pruned.pt"], tmp_path)


def test_different_models_are_refused(save, tmp_path):
    a = save("a")
    wider = save("b", encoder_ffn_embed_dim=48)
    message = _refused([a, wider], tmp_path)
    assert "encoder.layers.0.fc1.weight is [32, 16] in float32 and [48, 16]" in message
    other = save("c", arch="dsp_transformer_tiny")
    assert "architecture is dsp_transformer and dsp_transformer_tiny" in _refused(
        [a, other], tmp_path
    )
    # Same shapes, another function.
    assert "encoder_normalize_before is False and True" in _refused(
        [a, save("d", encoder_normalize_before=True)], tmp_path
    )

    def shorten(state):
        del state["model"]["decoder.layers.0.fc1.bias"]

    assert "fc1.bias is [32] in float32 and absent" in _refused([a, save("e", change=shorten)],
                                                                tmp_path)  # fmt: skip


def test_state_that_has_no_mean_must_be_equal(save, tmp_path):
    def add(budget):
        def change(state):
            state["model"]["head_gates.budgets"][budget] = 1.0
            state["model"]["steps"] = torch.tensor([budget > 20])

        return change

    paths = [save("a", change=add(20)), save("b", change=add(20))]
    average_checkpoints(paths, tmp_path / "equal.pt")
    kept = load_checkpoint(tmp_path / "equal.pt").weights
    assert kept["head_gates.budgets"][20] == 1
    assert kept["steps"].dtype == torch.bool
    message = _refused([paths[0], save("c", change=add(21))], tmp_path)
    assert "have no common mean: head_gates.budgets differs" in message


def test_diverged_weights_are_refused(save, tmp_path):
    def diverge(state):
        state["model"]["encoder.layers.1.fc2.bias"][3] = float("nan")

    message = _refused([save("a"), save("b", change=diverge)], tmp_path)
    assert "numbers that are not finite, in encoder.layers.1.fc2.bias" in message


def test_nothing_is_overwritten_or_counted_twice(save, tmp_path):
    path = save("a")
    before = path.read_bytes()
    with pytest.raises(CommandExit, match="exists: remove it or give another --output"):
        main([str(path), "--output", str(path)])
    assert path.read_bytes() == before
    same = "hold the same weights: they would count double"
    assert same in _refused([path, tmp_path / "." / "a.pt"], tmp_path)
    link, saved_again = tmp_path / "link.pt", tmp_path / "again.pt"
    link.symlink_to(path)
    # As fairseq saves a checkpoint a second time: the same weights in another file.
    state = torch.load(path, weights_only=True)
    torch.save({**state, "extra_state": {}}, saved_again)
    assert saved_again.read_bytes() != before
    for other in (link, saved_again):
        message = _refused([path, save("b"), other], tmp_path)
        assert message.endswith(f"{path} and {other} {same}")
        other.unlink()
    (tmp_path / "b.pt").unlink()
    (tmp_path / "bad.pt").write_bytes(before[:2000])
    assert "is not a checkpoint that can be loaded" in _refused(
        [path, tmp_path / "bad.pt"], tmp_path
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pt", "bad.pt"]


# ---- the newest of a run


def test_the_newest_are_those_of_the_highest_epoch_and_update(tmp_path):
    names = [
        "checkpoint_2_90.pt",
        "checkpoint9.pt",
        "checkpoint_10_1000.pt",
        "checkpoint_10_950.pt",
    ]
    for name in [*names, "checkpoint_last.pt", "checkpoint_best.pt", "checkpoint.best_bleu_3.pt"]:
        (tmp_path / name).touch()
    newest = [path.name for path in newest_checkpoints(tmp_path, 3)]
    assert newest == ["checkpoint9.pt", "checkpoint_10_950.pt", "checkpoint_10_1000.pt"]
    with pytest.raises(PruningError, match="has 4 numbered checkpoints, not 5: train without"):
        newest_checkpoints(tmp_path, 5)
    with pytest.raises(PruningError, match="must be 1 or more"):
        newest_checkpoints(tmp_path, 0)


def test_wrong_uses_of_last(tmp_path):
    output = ["--output", str(tmp_path / "average.pt")]
    with pytest.raises(CommandExit, match="is a folder: add --last N"):
        main([str(tmp_path), *output])
    with pytest.raises(CommandExit, match="is not a folder: --last needs"):
        main([str(tmp_path / "none"), "--last", "2", *output])
    with pytest.raises(CommandExit, match="takes one folder of a run, not 2 paths"):
        main(["a", "b", "--last", "2", *output])
