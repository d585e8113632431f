"""Pruned files compute what the masked model does, and train on."""

from __future__ import annotations

import pytest
import torch
from saved_models import CASES, read_head_map, rebuild

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.export.export import export_checkpoint
from dsp_fairseq.export.pruned import pruned_checkpoint


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


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_exported_is_masked_in_full_and_incremental_decoding(
    checkpoint, batch, task, tmp_path, case, dtype, tolerance
):
    model, path = checkpoint(**case)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    exported = rebuild(tmp_path / "pruned.pt", task).to(dtype)
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


def test_an_exported_model_trains_on(checkpoint, batch, task, tmp_path):
    _, path = checkpoint(6)
    export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
    model = rebuild(tmp_path / "pruned.pt", task).train()
    model(**batch)[0].pow(2).sum().backward()
    for site, heads in read_head_map(path).kept.items():
        weight = model.get_submodule(site.module_name).q_proj.weight
        assert weight.size(0) == 4 * len(heads)
        assert not heads or weight.grad.abs().max() > 0


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


@pytest.mark.parametrize("kept", ["encoder.self.0=1,3;decoder.cross.1=0", "none"])
def test_an_exported_model_has_no_other_number_of_heads(build, kept):
    number = 0 if kept == "none" else 3
    for asked in (None, number, str(number)):
        model = build(asked, kept_heads=kept)
        assert int(model.head_gates.open_mask().sum()) == number
    with pytest.raises(CommandExit, match=f"-heads 5: this model was exported with {number}"):
        build("5", kept_heads=kept)
