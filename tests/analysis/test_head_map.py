"""``dsp-heads``: what it reads from a checkpoint, and what it prints, writes and draws."""

from __future__ import annotations

import json

import pytest
import torch
from saved_models import printed_heads, read_head_map

from dsp_fairseq.analysis.head_map import to_json
from dsp_fairseq.heads.layout import Site

# ---- text and JSON


def test_the_grid(gated, save, capsys):
    importance = torch.linspace(-3, 3, 36)
    model = gated(10, encoder_attention_heads=2, decoder_attention_heads=8)
    path = save(model, **{"head_gates.importance": importance})
    assert printed_heads(capsys, path) == (
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
    summary = printed_heads(capsys, save(gated(k))).splitlines()[-1]
    assert summary == f"{k} of 24 heads kept, in [brackets]; a budget without a choice"


def test_columns_stand_in_line_whatever_the_numbers(gated, save, capsys):
    importance = torch.randn(24) * 1000
    text = printed_heads(capsys, save(gated(), **{"head_gates.importance": importance}))
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    assert len({len(row) for row in rows}) == 1


def test_json(gated, save, capsys, tmp_path):
    model = gated(6, frozen=True)
    path = save(model)
    target = tmp_path / "heads.json"
    text = printed_heads(capsys, path, "--json", target)
    assert text.splitlines()[-1].startswith("6 of 24 heads kept, in [brackets]; frozen; margin")
    content = json.loads(target.read_text())
    assert content == json.loads(printed_heads(capsys, path, "--json", "-"))
    assert content == to_json(read_head_map(path))
    assert (content["budget"], content["num_heads"], content["frozen"]) == (6, 24, True)
    kept = {Site(site["kind"], site["layer"]): site["kept"] for site in content["sites"]}
    assert torch.equal(model.head_gates.layout.mask(kept), model.head_gates.mask)
    flat = [value for site in content["sites"] for value in site["importance"]]
    assert flat == model.head_gates.importance.tolist()
