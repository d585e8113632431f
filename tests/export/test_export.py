"""Export: what is written equals the masked model, and has no weights of closed heads."""

from __future__ import annotations

import pytest
import torch
from saved_models import CASES, read_head_map, rebuild

from dsp_fairseq.errors import PruningError
from dsp_fairseq.export.export import export_checkpoint


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
    a, b = rebuild(tmp_path / "pruned.pt", task), rebuild(tmp_path / "again.pt", task)
    with torch.no_grad():
        assert torch.equal(a(**batch)[0], b(**batch)[0])
    export_checkpoint(tmp_path / "further.pt", tmp_path / "stock.pt", "fairseq")
