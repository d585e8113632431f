"""``dsp-heads``: what it reads from a checkpoint, and what it prints, writes and draws."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from omegaconf import OmegaConf

from dsp_fairseq.analysis.head_map import read_head_map, to_json
from dsp_fairseq.analysis.head_plot import render_plot
from dsp_fairseq.checkpoints.weights import slice_weights
from dsp_fairseq.cli.heads import main
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.heads.family import family_of
from dsp_fairseq.heads.layout import DECODER_CROSS, ENCODER_SELF, Site, parse_kept_heads

SHAPE = (
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "no_cross_attention",
    "num_of_heads",
    "keep_at_least",
)


def _config(model, **more: Any) -> Namespace:
    own = {name: getattr(model.args, name) for name in SHAPE if hasattr(model.args, name)}
    return Namespace(_name="dsp_transformer_tiny", **{**own, **more})


@pytest.fixture
def save(tmp_path) -> Callable[..., Path]:
    """Writes a model as fairseq does; ``config`` and ``weights`` change what is stored."""

    def save_model(model, config: Any = None, **weights: Any) -> Path:
        state = {k: v for k, v in {**model.state_dict(), **weights}.items() if v is not None}
        path = tmp_path / "checkpoint.pt"
        config = _config(model) if config is None else config
        torch.save({"args": None, "cfg": {"model": config}, "model": state}, path)
        return path

    return save_model


@pytest.fixture
def gated(build):
    """A model of 24 heads with drawn importance, frozen or not."""

    def build_gated(num_of_heads: Any = 6, frozen: bool = False, **flags: Any):
        model = build(num_of_heads, **flags).train()
        gates = model.head_gates
        with torch.no_grad():
            gates.importance.copy_(torch.randn(gates.layout.num_heads))
        if frozen:
            model.set_num_updates(100)
            gates.begin_forward()
            assert gates.is_frozen
        return model

    return build_gated


def _printed(capsys, *argv: Any) -> str:
    main([str(arg) for arg in argv])
    return capsys.readouterr().out


# ---- reading


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"encoder_attention_heads": 2, "decoder_attention_heads": 8},
        {"encoder_layers": 3, "decoder_layers": 1},
        {"no_cross_attention": True},
    ],
    ids=str,
)
def test_layout_from_the_config_is_the_models_own(gated, save, flags):
    model = gated(**flags)
    own = model.head_gates.layout
    config = _config(model)
    for args in (config, vars(config), OmegaConf.create(vars(config))):
        layout = family_of(args).layout(args)
        assert (layout.sites, layout.heads) == (own.sites, own.heads)
    assert str(read_head_map(save(model)).layout) == str(own)


@pytest.mark.parametrize(
    ("k", "frozen"),
    [(0, False), (1, False), (6, False), (23, False), (24, False), (1, True), (6, True)],
)
def test_the_mask_is_the_one_that_evaluation_uses(gated, save, k, frozen):
    model = gated(k, frozen)
    head_map = read_head_map(save(model))
    assert torch.equal(head_map.mask, model.head_gates.open_mask())
    assert torch.equal(head_map.importance, model.head_gates.importance.detach())
    assert (head_map.budget, head_map.frozen) == (k, frozen)
    assert sum(map(len, head_map.kept.values())) == k
    if k in (0, 24):
        assert head_map.margin is None
    else:
        assert head_map.margin == model.head_gates.statistics()["margin"]


def test_a_frozen_mask_counts_and_not_importance(gated, save):
    model = gated(6, frozen=True)
    moved = read_head_map(save(model, **{"head_gates.importance": torch.arange(24.0)}))
    assert torch.equal(moved.mask, model.head_gates.mask)


def test_ties_go_to_the_lower_head(gated, save):
    path = save(gated(5), **{"head_gates.importance": torch.zeros(24)})
    head_map = read_head_map(path)
    assert head_map.mask.tolist() == [1.0] * 5 + [0.0] * 19
    assert head_map.margin == 0.0


def test_floors_are_kept(gated, save):
    model = gated(4, keep_at_least="decoder.cross=3")
    importance = torch.arange(24.0).flip(0)
    with torch.no_grad():
        model.head_gates.importance.copy_(importance)
    head_map = read_head_map(save(model))
    assert torch.equal(head_map.mask, model.head_gates.open_mask())
    assert head_map.count(DECODER_CROSS) == (3, 8)
    assert head_map.count(ENCODER_SELF) == (1, 8)


@pytest.mark.parametrize("k", [0, 11, "24"])
def test_another_budget_before_the_freeze(gated, save, k):
    model = gated(6)
    head_map = read_head_map(save(model), k)
    assert head_map.budget == head_map.mask.sum() == int(k)
    best = set(model.head_gates.importance.argsort(descending=True)[: int(k)].tolist())
    assert set(head_map.mask.nonzero().flatten().tolist()) == best


def test_the_budget_may_be_named_again_after_the_freeze(gated, save):
    assert read_head_map(save(gated(6, frozen=True)), "6").budget == 6


def test_fields_that_hydra_leaves_out_come_from_the_architecture(gated, save):
    tiny = {"encoder_layers": 4, "decoder_layers": 4}
    config = {"_name": "dsp_transformer_tiny", "num_of_heads": 3}
    path = save(gated(3, **tiny), config)
    head_map = read_head_map(path)
    assert str(head_map.layout) == str(gated(3, **tiny).head_gates.layout)
    assert head_map.layout.num_heads == 48


def test_flags_under_args_as_old_checkpoints_have_them(gated, tmp_path):
    model = gated(6)
    path = tmp_path / "old.pt"
    torch.save({"args": _config(model), "model": model.state_dict()}, path)
    assert read_head_map(path).budget == 6


# ---- exported models


@pytest.fixture
def exported(gated, save) -> Callable[[Any], Path]:
    """A model without gates, whose config says which heads are left."""

    def save_exported(kept_heads: Any) -> Path:
        model = gated()
        weights = {f"head_gates.{name}": None for name in model.head_gates.state_dict()}
        layout = model.head_gates.layout
        with suppress(ValueError):
            mask = layout.mask(parse_kept_heads(kept_heads, layout))
            weights |= slice_weights(model.state_dict(), layout, mask)
        return save(model, _config(model, kept_heads=kept_heads), **weights)

    return save_exported


def test_an_exported_model(exported, capsys):
    path = exported("encoder.self.0=1,3;decoder.cross.1=0")
    head_map = read_head_map(path)
    assert head_map.importance is None and head_map.margin is None
    assert (head_map.frozen, head_map.budget) == (True, 3)
    kept = {site: heads for site, heads in head_map.kept.items() if heads}
    assert kept == {Site(ENCODER_SELF, 0): [1, 3], Site(DECODER_CROSS, 1): [0]}
    text = _printed(capsys, path)
    assert "encoder.self: 2 of 8 heads kept" in text
    assert [line.split() for line in text.splitlines()][2] == ["0", ".", "[x]", ".", "[x]", "2"]
    assert text.splitlines()[-1] == "3 of 24 heads kept, in [brackets]; frozen"
    assert json.loads(_printed(capsys, path, "--json", "-"))["sites"][0] == {
        "kind": ENCODER_SELF,
        "layer": 0,
        "kept": [1, 3],
        "importance": None,
    }
    assert render_plot(head_map, ".png")


def test_an_exported_model_may_keep_nothing(exported):
    assert read_head_map(exported("none")).budget == 0


def test_kept_heads_left_empty_is_no_export(exported):
    with pytest.raises(PruningError, match="no head importance"):
        read_head_map(exported(""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder.self.0", "not of the form"),
        ("encoder.self.0=", "not of the form"),
        ("encoder.self.0=1,x", "not of the form"),
        ("encoder.self.9=1", "encoder.self.9, which is not one of this model"),
        ("encoder.self.0=1;encoder.self.0=2", "encoder.self.0 twice"),
        ("encoder.self.0=4", "has 4 heads, each to be named once"),
        ("encoder.self.0=1,1", "has 4 heads, each to be named once"),
    ],
)
def test_damaged_kept_heads(exported, text, message):
    with pytest.raises(PruningError, match=message):
        read_head_map(exported(text))


# ---- what cannot be read


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


def test_a_dense_checkpoint(build_stock, save):
    config = Namespace(_name="transformer", encoder_layers=2)
    with pytest.raises(PruningError, match=r"no head importance.* but of transformer$"):
        read_head_map(save(build_stock(), config))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"importance": torch.zeros(23)}, "importance for 23 heads, and its model has 24 heads"),
        ({"importance": torch.full((24,), float("nan"))}, "not finite"),
        ({"mask": None}, "head_gates.mask or head_gates.frozen is amiss"),
        ({"mask": torch.zeros(23)}, "head_gates.mask or head_gates.frozen is amiss"),
        ({"frozen": None}, "head_gates.mask or head_gates.frozen is amiss"),
        ({"frozen": torch.tensor(1.0), "mask": torch.full((24,), 0.5)}, "averaged"),
    ],
)
def test_damaged_gates(gated, save, weights, message):
    path = save(gated(), **{f"head_gates.{name}": value for name, value in weights.items()})
    with pytest.raises(PruningError, match=message):
        read_head_map(path)


def test_an_architecture_that_is_not_known(gated, save):
    config = {"_name": "mine", "num_of_heads": 6, "encoder_layers": 2}
    with pytest.raises(
        PruningError, match=r"mine is no model whose heads are known: .*transformer"
    ):
        read_head_map(save(gated(), config))


def test_an_architecture_that_leaves_numbers_open(gated, save, monkeypatch):
    monkeypatch.setitem(ARCH_MODEL_NAME_REGISTRY, "mine", "dsp_transformer")
    config = {"_name": "mine", "num_of_heads": 6, "encoder_layers": 2}
    with pytest.raises(PruningError, match="does not say its model's encoder_attention_heads"):
        read_head_map(save(gated(), config))


@pytest.mark.parametrize(
    ("k", "message"), [("25", "from 0 to 24"), ("-1", "from 0 to 24"), ("six", "whole number")]
)
@pytest.mark.parametrize("frozen", [True, False])
def test_a_budget_that_no_model_can_have(gated, save, k, message, frozen):
    with pytest.raises(PruningError, match=message):
        read_head_map(save(gated(6, frozen)), k)


def test_budgets_that_this_model_cannot_have(gated, save, exported):
    with pytest.raises(PruningError, match="frozen at 6 heads, but --num-of-heads is 7"):
        read_head_map(save(gated(6, frozen=True)), "7")
    with pytest.raises(PruningError, match="frozen at 1 heads, but --num-of-heads is 2"):
        read_head_map(exported("encoder.self.0=1"), 2)
    model = gated(6, keep_at_least="decoder.cross=3,encoder.self=2")
    with pytest.raises(PruningError, match="4 is below the 5 heads"):
        read_head_map(save(model), 4)
    with pytest.raises(PruningError, match="--num-of-heads is missing"):
        read_head_map(save(gated(), _config(model, num_of_heads=None)))


# ---- text and JSON


def test_the_grid(gated, save, capsys):
    importance = torch.linspace(-3, 3, 36)
    model = gated(10, encoder_attention_heads=2, decoder_attention_heads=8)
    path = save(model, **{"head_gates.importance": importance})
    assert _printed(capsys, path) == (
        "encoder.self: 0 of 4 heads kept\n"
        "  layer      h0       h1    kept\n"
        "      0   -3.00    -2.83       0\n"
        "      1   -2.66    -2.49       0\n"
        "\n"
        "decoder.self: 0 of 16 heads kept\n"
        "  layer      h0       h1       h2       h3       h4       h5       h6       h7    kept\n"
        "      0   -2.31    -2.14    -1.97    -1.80    -1.63    -1.46    -1.29    -1.11       0\n"
        "      1   -0.94    -0.77    -0.60    -0.43    -0.26    -0.09    +0.09    +0.26       0\n"
        "\n"
        "decoder.cross: 10 of 16 heads kept\n"
        "  layer      h0       h1       h2       h3       h4       h5       h6       h7    kept\n"
        "      0   +0.43    +0.60    +0.77    +0.94    +1.11    +1.29   [+1.46]  [+1.63]      2\n"
        "      1  [+1.80]  [+1.97]  [+2.14]  [+2.31]  [+2.49]  [+2.66]  [+2.83]  [+3.00]      8\n"
        "\n"
        "10 of 36 heads kept, in [brackets]; not frozen: the top by importance so far; "
        "margin 0.1714 (importance ranked 10 less that ranked 11)\n"
    )


@pytest.mark.parametrize("k", [0, 24])
def test_a_budget_without_a_choice(gated, save, capsys, k):
    summary = _printed(capsys, save(gated(k))).splitlines()[-1]
    assert summary == f"{k} of 24 heads kept, in [brackets]; a budget without a choice"


def test_columns_stand_in_line_whatever_the_numbers(gated, save, capsys):
    importance = torch.randn(24) * 1000
    text = _printed(capsys, save(gated(), **{"head_gates.importance": importance}))
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    assert len({len(row) for row in rows}) == 1


def test_json(gated, save, capsys, tmp_path):
    model = gated(6, frozen=True)
    path = save(model)
    target = tmp_path / "heads.json"
    text = _printed(capsys, path, "--json", target)
    assert text.splitlines()[-1].startswith("6 of 24 heads kept, in [brackets]; frozen; margin")
    content = json.loads(target.read_text())
    assert content == json.loads(_printed(capsys, path, "--json", "-"))
    assert content == to_json(read_head_map(path))
    assert (content["budget"], content["num_heads"], content["frozen"]) == (6, 24, True)
    kept = {Site(site["kind"], site["layer"]): site["kept"] for site in content["sites"]}
    assert torch.equal(model.head_gates.layout.mask(kept), model.head_gates.mask)
    flat = [value for site in content["sites"] for value in site["importance"]]
    assert flat == model.head_gates.importance.tolist()


# ---- pictures


def _png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


def test_plots_are_files_of_their_kind(gated, save, capsys, tmp_path):
    path = save(gated(6, frozen=True))
    for suffix in (".png", ".svg", ".pdf", ".PNG"):
        _printed(capsys, path, "--plot", tmp_path / f"heads{suffix}", "--force")
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


# ---- files


@pytest.mark.parametrize("flag", ["--json", "--plot"])
def test_a_file_that_exists_stays_without_force(gated, save, capsys, tmp_path, flag):
    path, target = save(gated()), tmp_path / "heads.svg"
    target.write_text("mine")
    with pytest.raises(CommandExit, match="exists: give --force"):
        main([str(path), flag, str(target)])
    assert target.read_text() == "mine"
    _printed(capsys, path, flag, target, "--force")
    assert target.read_text() != "mine"


def test_outputs_that_cannot_be_written(gated, save, tmp_path, monkeypatch):
    path = str(save(gated()))
    for name in ("heads.jpg", "heads"):
        with pytest.raises(CommandExit, match=r"must end in one of \.png, \.svg, \.pdf"):
            main([path, "--plot", str(tmp_path / name)])
    with pytest.raises(CommandExit, match="there is no folder"):
        main([path, "--json", str(tmp_path / "none" / "heads.json")])
    with pytest.raises(CommandExit, match="it is a folder"):
        main([path, "--json", str(tmp_path), "--force"])
    same = str(tmp_path / "heads.svg")
    with pytest.raises(CommandExit, match="the same file"):
        main([path, "--json", same, "--plot", same])

    def fail(self: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(CommandExit, match="No space left"):
        main([path, "--json", str(tmp_path / "heads.json")])
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_checkpoint_itself_is_never_replaced(gated, save):
    path = save(gated())
    before = path.read_bytes()
    with pytest.raises(CommandExit, match="is the checkpoint"):
        main([str(path), "--json", str(path), "--force"])
    assert path.read_bytes() == before


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "dsp-heads checkpoints/checkpoint_best.pt --plot heads.svg" in text
    assert all(len(line) < 100 for line in text.splitlines())


def test_as_a_module(gated, save, tmp_path):
    command = [sys.executable, "-m", "dsp_fairseq.cli.heads"]
    path, plot = save(gated(6, frozen=True)), tmp_path / "heads.png"
    done = subprocess.run([*command, path, "--plot", plot], capture_output=True, text=True)
    assert done.returncode == 0 and "6 of 24 heads kept" in done.stdout
    assert "DEBUG" not in done.stderr


def test_a_dense_model_does_not_say_which_heads_to_keep(gated, save):
    path = save(gated(24))
    assert read_head_map(path).budget == 24
    with pytest.raises(
        PruningError, match="trained with 24 heads, so nothing says which 6 to keep"
    ):
        read_head_map(path, 6)
