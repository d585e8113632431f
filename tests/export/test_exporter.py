"""A format of export is one class and one registration, all the way through ``dsp-export``."""

from __future__ import annotations

import json

import pytest
import torch

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.checkpoints.weights import count_parameters, slice_weights
from dsp_fairseq.cli.export import main
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.export.exporter import EXPORTERS, Exporter, register_exporter
from dsp_fairseq.models.transformer import DspTransformerModel


@pytest.fixture
def shapes_format(monkeypatch):
    """Registers a format that writes the shapes of the weights that are left."""
    monkeypatch.setitem(EXPORTERS, "shapes", None)  # so that it is gone afterwards

    @register_exporter
    class ShapesExporter(Exporter):
        name = "shapes"
        help = "is a list of shapes, for people"

        def write(self, order, output, part):
            head_map = order.head_map
            weights = slice_weights(order.source.weights, head_map.layout, head_map.mask)
            part.write_text(json.dumps({name: list(w.shape) for name, w in weights.items()}))
            return count_parameters(weights)


@pytest.fixture
def checkpoint(arguments, task, tmp_path):
    """A file of a model that keeps 6 of its 24 heads."""
    args = arguments("6")
    model = DspTransformerModel.build_model(args, task)
    model.head_gates.adopt(torch.rand(24))
    path = tmp_path / "checkpoint.pt"
    torch.save({"cfg": {"model": args}, "model": model.state_dict()}, path)
    return path


def test_a_new_format_goes_through_the_command(shapes_format, checkpoint, tmp_path, capsys):
    output = tmp_path / "shapes.json"
    main([str(checkpoint), "--format", "shapes", "--output", str(output)])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].endswith("|format:shapes")
    shapes = json.loads(output.read_text())
    for site, heads in load_checkpoint(checkpoint).head_map().kept.items():
        assert shapes[f"{site.module_name}.q_proj.weight"] == [4 * len(heads), 16]
    # It is a choice like the others, with its line of help and its limits.
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "'shapes' is a list of shapes, for people" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CommandExit, match="--quantization belongs to --format ctranslate2"):
        main([str(checkpoint), "--format", "shapes", "--output", "x", "--quantization", "int8"])


def test_a_format_that_fails_leaves_nothing(shapes_format, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(type(EXPORTERS["shapes"]), "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main([str(checkpoint), "--format", "shapes", "--output", str(tmp_path / "shapes.json")])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_formats_that_come_with_the_package():
    assert set(EXPORTERS) == {"pruned", "fairseq", "ctranslate2", "huggingface"}
