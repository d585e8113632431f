"""Files of every earlier format load, and those of a later one are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from saved_models import read_head_map

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.checkpoints.formats import FORMAT, FORMAT_KEY, format_of, upgrade_weights
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.export.export import export_checkpoint
from dsp_fairseq.models.transformer import DspTransformerModel

DATA = Path(__file__).parents[1] / "data"
MASK = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
SQUARES = 3138.0949
"""Sum of the squares of the logits of the tokens 4..23, as the revisions of the files had it."""


def _load_as_fairseq_does(path):
    state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    words = Dictionary()
    for number in range(200 - len(words)):
        words.add_symbol(f"w{number}")
    task = SimpleNamespace(source_dictionary=words, target_dictionary=words)
    model = DspTransformerModel.build_model(state["cfg"].model, task)
    model.load_state_dict(state["model"])
    return model.eval()


def _squares(model):
    tokens = torch.arange(4, 24).view(2, 10)
    lengths = torch.tensor([10, 10])
    logits = model(src_tokens=tokens, src_lengths=lengths, prev_output_tokens=tokens)[0]
    return logits.double().pow(2).sum().item()


@pytest.mark.parametrize("name", ["format1", "format2", "format1-pruned"])
def test_earlier_formats_load_and_compute_as_they_did(name, tmp_path):
    path = DATA / f"{name}.pt"
    model = _load_as_fairseq_does(path)
    assert model.head_gates.open_mask().tolist() == MASK
    assert _squares(model) == pytest.approx(SQUARES, rel=1e-6)
    head_map = read_head_map(path)
    assert (head_map.mask.tolist(), head_map.budget, head_map.frozen) == (MASK, 3, True)
    # What is written from it is of the present format.
    assert format_of(model.state_dict()) == FORMAT
    if name != "format1-pruned":
        export_checkpoint(path, tmp_path / "pruned.pt", "pruned")
        assert format_of(load_checkpoint(tmp_path / "pruned.pt").weights) == FORMAT
        again = _load_as_fairseq_does(tmp_path / "pruned.pt")
        assert _squares(again) == pytest.approx(SQUARES, rel=1e-6)


def test_each_file_is_of_the_format_that_it_is_kept_for():
    for name, number in (("format1", 1), ("format2", 2)):
        weights = torch.load(DATA / f"{name}.pt", weights_only=True)["model"]
        assert format_of(weights) == number
    assert set(range(1, FORMAT)) == {1, 2}, "keep a file of each earlier format"
    assert load_checkpoint(DATA / "format1.pt").weights["head_gates.budgets"].tolist() == [
        *(0, 0, 0, 1, 0, 0, 0)
    ]


@pytest.mark.parametrize("kind", ["format2", "format1-pruned"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (FORMAT + 1.0, f"has format {FORMAT + 1}, .* knows the formats 1 to {FORMAT}: install"),
        (0.0, "is no number of a format"),
        (-2.0, "is no number of a format"),
    ],
)
def test_later_formats_are_refused(tmp_path, kind, number, message):
    path = tmp_path / "later.pt"
    state = torch.load(DATA / f"{kind}.pt", weights_only=True)
    state["model"][FORMAT_KEY] = torch.tensor(number)
    torch.save(state, path)
    for load in (read_head_map, _load_as_fairseq_does):
        with pytest.raises((PruningError, CommandExit), match=message):
            load(path)


def test_a_later_export_of_any_kind_is_refused(tmp_path):
    state = torch.load(DATA / "format1-pruned.pt", weights_only=True)
    torch.save({**state, "dsp_format": FORMAT + 1}, tmp_path / "later.pt")
    with pytest.raises(PruningError, match="install a newer one"):
        load_checkpoint(tmp_path / "later.pt")


def test_what_older_fairseqs_stored_of_computed_positions_is_left_out():
    names = ("encoder.embed_positions.weights", "decoder.embed_positions._float_tensor")
    learned = {"encoder.embed_positions.weight": torch.ones(2)}
    weights = {**{name: torch.zeros(1) for name in names}, **learned}
    upgrade_weights(weights, "model.pt")
    assert weights == learned
