"""The drawing of head maps: what is marked, shapes of all kinds, the same bytes again."""

from __future__ import annotations

import struct
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from saved_models import printed_heads

from dsp_fairseq.analysis.head_plot import FORMATS, plot_head_map, render_plot
from dsp_fairseq.cli.heads import main
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.estimators import top_k_mask
from dsp_fairseq.heads.head_map import HeadMap
from dsp_fairseq.heads.layout import HeadLayout, Site

TRANSFORMER = {"encoder.self": (2, 4), "decoder.self": (2, 4), "decoder.cross": (2, 4)}


def _head_map(budget=6, shape=TRANSFORMER, importance=None, frozen=True) -> HeadMap:
    """Of a model with so many layers and heads in each kind of site."""
    sizes = {kind: [heads] * layers for kind, (layers, heads) in shape.items()}
    layout = HeadLayout({Site(k, i): n for k, row in sizes.items() for i, n in enumerate(row)})
    importance = torch.randn(layout.num_heads) if importance is None else importance
    return HeadMap(layout, importance, top_k_mask(importance, budget), frozen, budget)


def _png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


def test_plots_mark_every_kept_head():
    def marks(k: int) -> int:
        picture = render_plot(_head_map(k), ".svg").decode()
        return picture.count("fill: #ffffff; stroke: #000000")

    assert [marks(k) - marks(0) for k in (1, 6, 24)] == [1, 6, 24]


def test_colours_are_importance_and_kept_heads_are_large():
    head_map = _head_map(5, importance=torch.arange(24.0))
    maps = plot_head_map(head_map).axes[:3]
    shown = np.concatenate([axes.collections[0].get_array() for axes in maps])
    sizes = np.concatenate([axes.collections[0].get_sizes() for axes in maps])
    places = [axes.collections[0].get_offsets().tolist() for axes in maps]
    assert shown.tolist() == head_map.importance.tolist()
    assert (sizes == sizes.max()).tolist() == head_map.mask.bool().tolist()
    assert places == [[[x, y] for y in range(2) for x in range(4)]] * 3
    titles = [axes.get_title() for axes in maps]
    assert titles == ["encoder.self\n0 of 8", "decoder.self\n0 of 8", "decoder.cross\n5 of 8"]


def test_layers_of_unequal_heads_leave_their_places_empty():
    layout = HeadLayout({Site("encoder.self", 0): 3, Site("encoder.self", 1): 1})
    head_map = HeadMap(layout, torch.arange(4.0), torch.tensor([0.0, 0, 1, 1]), True, 2)
    squares = plot_head_map(head_map).axes[0].collections[0]
    assert squares.get_offsets().tolist() == [[0, 0], [1, 0], [2, 0], [0, 1]]


def test_a_model_without_importance_has_no_bar_of_colours():
    head_map = _head_map()
    assert len(plot_head_map(head_map).axes) == 4
    exported = HeadMap(head_map.layout, None, head_map.mask, True, 6)
    assert len(plot_head_map(exported).axes) == 3


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_checkpoint_gives_the_same_picture(suffix):
    head_map = _head_map()
    assert render_plot(head_map, suffix) == render_plot(head_map, suffix)


@pytest.mark.parametrize(
    ("shape", "budget"),
    [
        (dict.fromkeys(TRANSFORMER, (2, 1)), 1),
        ({"encoder.self": (2, 2), "decoder.self": (2, 16), "decoder.cross": (2, 16)}, 20),
        ({"encoder.self": (5, 4), "decoder.self": (1, 4)}, 6),
    ],
)
def test_plots_of_other_shapes(shape, budget):
    assert _png_size(render_plot(_head_map(budget, shape), ".png"))


def test_nothing_of_a_plot_overlaps_or_is_cut_off():
    for shape in (TRANSFORMER, dict.fromkeys(TRANSFORMER, (6, 16))):
        figure = plot_head_map(_head_map(shape=shape, frozen=False))
        figure.canvas.draw()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        boxes += [text.get_window_extent() for text in figure.texts]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
            assert figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max)


def test_a_plot_of_equal_importance():
    assert _png_size(render_plot(_head_map(importance=torch.zeros(24)), ".png"))


def test_plots_are_files_of_their_kind(gated, save, capsys, tmp_path):
    path = save(gated(6, frozen=True))
    for suffix in (".png", ".svg", ".pdf", ".PNG"):
        printed_heads(capsys, path, "--plot", tmp_path / f"heads{suffix}", "--force")
    width, height = _png_size((tmp_path / "heads.png").read_bytes())
    assert width > height > 300
    assert ElementTree.fromstring((tmp_path / "heads.svg").read_text()).tag.endswith("svg")
    assert (tmp_path / "heads.pdf").read_bytes().startswith(b"%PDF-")
    assert not list(tmp_path.glob(".*"))


def test_without_matplotlib(gated, save, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "dsp_fairseq.analysis.head_plot")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CommandExit, match="pip install matplotlib"):
        main([str(save(gated())), "--plot", str(tmp_path / "heads.png")])
    assert not (tmp_path / "heads.png").exists()
