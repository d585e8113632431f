"""Export: what is written equals the masked model, and has no weights of closed heads."""

from __future__ import annotations

import pytest
import torch

from dsp_fairseq.analysis.head_map import read_head_map
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.checkpoints.formats import FORMAT
from dsp_fairseq.checkpoints.weights import slice_weights
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.export.export import export_checkpoint
from dsp_fairseq.export.fairseq import dense_checkpoint
from dsp_fairseq.export.pruned import pruned_checkpoint
from dsp_fairseq.heads.layout import DECODER_CROSS, DECODER_SELF, ENCODER_SELF
from dsp_fairseq.models.transformer import DspTransformerModel


@pytest.fixture
def checkpoint(arguments, task, tmp_path):
    """Builds a model, fixes which heads it keeps, and writes it as fairseq-train would."""

    def make(k=6, *, frozen=True, kinds=None, **flags):
        args = arguments(str(k), **flags)
        model = DspTransformerModel.build_model(args, task)
        gates = model.head_gates
        with torch.no_grad():
            gates.importance.normal_()
            if kinds is not None:
                gates.importance.fill_(-9.0)
                for kind in kinds:
                    indices = gates.layout.indices(kind)
                    gates.importance[indices] = torch.randn(len(indices))
            if frozen and not gates.is_constant:
                gates.mask.copy_(gates.open_mask())
                gates.frozen.fill_(1.0)
        gates.after_load()
        model.eval()
        path = tmp_path / "checkpoint.pt"
        state = {
            "args": None,
            "cfg": {"model": args, "criterion": {"_name": "x"}, "optimizer": {"_name": "dsp_adam"}},
            "model": model.state_dict(),
            "optimizer_history": [{"num_updates": 7}],
            "extra_state": {"train_iterator": {"epoch": 1}, "best": 4.2},
            "last_optimizer_state": {"state": {0: torch.zeros(100000)}},
        }
        torch.save(state, path)
        return model, path

    return make


def _rebuild(path, task):
    state = torch.load(path, weights_only=True)
    model = DspTransformerModel.build_model(state["cfg"]["model"], task)
    model.load_state_dict(state["model"])
    return model.eval()


def _decode(model, batch, beam=1):
    """Log-probabilities of incremental decoding, with a reordering at every step."""
    model.set_beam_size(beam)
    encoder_out = model.encoder(batch["src_tokens"], batch["src_lengths"])
    order = torch.arange(3).repeat_interleave(beam)
    encoder_out = model.encoder.reorder_encoder_out(encoder_out, order)
    tokens = batch["prev_output_tokens"].repeat_interleave(beam, 0)
    tokens = tokens.masked_fill(tokens == 1, 5)
    state, steps = {}, []
    for step in range(1, tokens.size(1) + 1):
        logits, _ = model.decoder(tokens[:, :step], encoder_out, incremental_state=state)
        steps.append(logits[:, -1])
        # Sentence order stays; beams within a sentence change places.
        shuffled = torch.arange(len(order)).view(3, beam).flip(1).flatten()
        model.decoder.reorder_incremental_state_scripting(state, shuffled)
        tokens = tokens[shuffled]
    return torch.stack(steps)


CASES = {
    "plain": {},
    "not frozen": {"frozen": False},
    "no head": {"k": 0},
    "all heads": {"k": 24},
    "one kind only": {"k": 5, "kinds": [ENCODER_SELF]},
    "no encoder heads": {"k": 9, "kinds": [DECODER_SELF, DECODER_CROSS]},
    "no cross heads": {"k": 9, "kinds": [ENCODER_SELF, DECODER_SELF]},
    "unequal": {"k": 7, "encoder_attention_heads": 2, "decoder_attention_heads": 8},
    "tied": {"share_all_embeddings": True},
    "prenorm": {"encoder_normalize_before": True, "decoder_normalize_before": True},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_exported_is_masked_in_full_and_incremental_decoding(
    checkpoint, batch, task, tmp_path, case, dtype, tolerance
):
    model, path = checkpoint(**case)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    exported = _rebuild(tmp_path / "pruned.pt", task).to(dtype)
    masked = model.to(dtype).eval()
    with torch.no_grad():
        a, b = masked(**batch)[0], exported(**batch)[0]
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        for beam in (1, 2):
            a, b = _decode(masked, batch, beam), _decode(exported, batch, beam)
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_incremental_decoding_is_full_decoding(checkpoint, batch):
    model, _ = checkpoint(9)
    full = batch["prev_output_tokens"].masked_fill(batch["prev_output_tokens"] == 1, 5)
    with torch.no_grad():
        whole = model(**{**batch, "prev_output_tokens": full})[0].transpose(0, 1)
        steps = _decode(model, batch)
    torch.testing.assert_close(whole, steps, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_dense_shape_is_the_masked_model(checkpoint, build_stock, batch, tmp_path, case):
    model, path = checkpoint(**case)
    dense = dense_checkpoint(load_checkpoint(path), read_head_map(path), path)
    stock_flags = {k: v for k, v in case.items() if k not in ("k", "frozen", "kinds")}
    stock = build_stock(**stock_flags)
    stock.load_state_dict(dense.weights)
    with torch.no_grad():
        a, b = model(**batch)[0], stock.eval()(**batch)[0]
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_parameters_removed_are_counted_exactly(checkpoint, tmp_path):
    model, path = checkpoint(6)
    export = export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    width, head_dim = 16, 4
    removed = (24 - 6) * (4 * width * head_dim + 3 * head_dim)
    dense = sum(p.numel() for n, p in model.named_parameters() if "head_gates" not in n)
    assert export.parameters == (dense, dense - removed)
    exported = torch.load(tmp_path / "pruned.pt", weights_only=True)
    gates = [key for key in exported["model"] if key.startswith("head_gates.")]
    assert gates == ["head_gates.format"]
    assert exported["dsp_format"] == exported["model"]["head_gates.format"] == FORMAT
    assert (tmp_path / "pruned.pt").stat().st_size < path.stat().st_size - 400000


def test_a_dense_shaped_checkpoint_needs_no_allowed_types(checkpoint, tmp_path):
    _, path = checkpoint(6)
    export_checkpoint(path, tmp_path / "stock.pt", "fairseq")
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        state = torch.load(tmp_path / "stock.pt", weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)
    arguments = state["cfg"]["model"]
    assert arguments["arch"] == arguments.arch == "transformer"
    assert "num_of_heads" not in arguments


def test_an_unfrozen_checkpoint_takes_another_budget(checkpoint, tmp_path):
    _, path = checkpoint(6, frozen=False)
    export = export_checkpoint(path, tmp_path / "pruned.pt", "pruned", num_of_heads="11")
    assert export.head_map.budget == 11
    assert export.signature.startswith("K:11|N:24|method:sigmoid|frozen:no|seed:")


@pytest.mark.parametrize(
    ("last_change", "start", "method"),
    [(0, "scored.pt", "given"), (3, "dense.pt", "sigmoid"), (0, None, "sigmoid")],
)
def test_heads_that_a_training_began_with_are_not_said_to_be_its_own(
    checkpoint, tmp_path, last_change, start, method
):
    _, path = checkpoint(6)
    state = torch.load(path, weights_only=True)
    state["cfg"]["checkpoint"] = {"finetune_from_model": start}
    state["model"]["head_gates.last_change"].fill_(last_change)
    torch.save(state, path)
    export = export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    assert f"|method:{method}|" in export.signature


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(checkpoint, tmp_path):
    _, path = checkpoint(6)
    output = tmp_path / "out.pt"
    export_checkpoint(path, output, "pruned")
    before = output.read_bytes()
    with pytest.raises(PruningError, match="exists: remove it"):
        export_checkpoint(path, output, "pruned")
    assert output.read_bytes() == before
    with pytest.raises(PruningError, match="is exported already"):
        export_checkpoint(output, tmp_path / "again.pt", "pruned")
    with pytest.raises(PruningError, match="frozen"):
        export_checkpoint(path, tmp_path / "more.pt", "pruned", num_of_heads="7")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(PruningError, match=r"text\.pt is not a checkpoint"):
        export_checkpoint(tmp_path / "text.pt", tmp_path / "more.pt", "pruned")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "out.pt", "text.pt"]


def test_an_interrupted_export_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    _, path = checkpoint(6)

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(PruningError, match="the disk is full"):
        export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_exported_weights_are_slices(checkpoint):
    model, path = checkpoint(6)
    head_map = read_head_map(path)
    weights = slice_weights(model.state_dict(), head_map.layout, head_map.mask)
    for site, heads in head_map.kept.items():
        full = model.state_dict()[f"{site.module_name}.q_proj.weight"].view(4, 4, -1)
        assert torch.equal(weights[f"{site.module_name}.q_proj.weight"], full[heads].flatten(0, 1))


def test_an_exported_model_trains_on(checkpoint, batch, task, tmp_path):
    _, path = checkpoint(6)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    model = _rebuild(tmp_path / "pruned.pt", task).train()
    model(**batch)[0].pow(2).sum().backward()
    for site, heads in read_head_map(path).kept.items():
        weight = model.get_submodule(site.module_name).q_proj.weight
        assert weight.size(0) == 4 * len(heads)
        assert not heads or weight.grad.abs().max() > 0


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_model_that_was_trained_further_is_exported_again(
    checkpoint, task, batch, tmp_path, case
):
    _, path = checkpoint(**case)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    state = torch.load(tmp_path / "pruned.pt", weights_only=True)
    del state["dsp_signature"]  # as fairseq-train writes it
    torch.save(state, tmp_path / "further.pt")
    head_map = read_head_map(tmp_path / "further.pt")
    again = export_checkpoint(tmp_path / "further.pt", tmp_path / "again.pt", "pruned")
    assert again.head_map.budget == head_map.budget
    a, b = _rebuild(tmp_path / "pruned.pt", task), _rebuild(tmp_path / "again.pt", task)
    with torch.no_grad():
        assert torch.equal(a(**batch)[0], b(**batch)[0])
    export_checkpoint(tmp_path / "further.pt", tmp_path / "stock.pt", "fairseq")


def test_an_export_without_its_flag_is_told_the_flag(checkpoint, build, tmp_path):
    _, path = checkpoint(6)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    weights = torch.load(tmp_path / "pruned.pt", weights_only=True)["model"]
    with pytest.raises(CommandExit, match="build its model with --kept-heads FILE"):
        build(6).load_state_dict(weights)


def test_kept_heads_may_be_named_by_the_exported_file(checkpoint, build, tmp_path):
    _, path = checkpoint(6)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    model = build(None, kept_heads=str(tmp_path / "pruned.pt"))
    again = pruned_checkpoint(load_checkpoint(path), read_head_map(path), path)
    assert model.args.kept_heads == again.state["cfg"]["model"].kept_heads
    with pytest.raises(CommandExit, match="not a checkpoint that dsp-export wrote"):
        build(None, kept_heads=str(path))
    with pytest.raises(CommandExit, match="the checkpoint has all its heads"):
        model.load_state_dict(torch.load(path, weights_only=True)["model"])
