"""dsp-measure: the file that it writes, and what it prints."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
import yaml

from dsp_fairseq.analysis.prices import Measure, Prices
from dsp_fairseq.cli import measure as measure_command
from dsp_fairseq.errors import CommandExit

KINDS = ("encoder.self", "decoder.self", "decoder.cross")


def test_the_heads_of_a_model_are_priced(checkpoint, tmp_path, capsys):
    _, path = checkpoint(6)
    output = tmp_path / "costs.yaml"
    flags = ("--batch-size", "2", "--beam", "2", "--length", "6", "--repeats", "5", "--cpu")
    for _ in range(9):  # on a busy machine the time of a head is lost in the noise
        with suppress(CommandExit):
            measure_command.main([str(path), "--output", str(output), *flags])
            break
    content = yaml.safe_load(output.read_text())
    assert list(content["costs"]) == list(KINDS)
    assert min(content["costs"].values()) > 0
    assert sum(content["costs"].values()) == pytest.approx(3, rel=1e-3), "8 heads of each kind"
    measured = content["measured"]
    assert (measured["batch_size"], measured["beam"], measured["length"]) == (2, 2, 6)
    out = capsys.readouterr().out
    for kind in KINDS:
        assert re.search(rf"^{kind} +8 .* {content['costs'][kind]:.4g}$", out, re.MULTILINE), out
    assert f"wrote {output}" in out
    with pytest.raises(SystemExit, match="exists: remove it or give another --output"):
        measure_command.main([str(path), "--output", str(output)])


def test_the_table_says_what_is_too_short_to_tell(tmp_path):
    rounds = dict(zip(KINDS, ([-0.0001, -0.0003], [0.001, 0.003], [0.002, 0.004]), strict=True))
    prices = Prices(dict.fromkeys(KINDS, 8), rounds, 1.5, "a card", 2, Measure())
    lines = measure_command.render(prices, tmp_path / "costs.json").splitlines()
    assert lines[2] == "decoder.self       8         2.000  [1.500, 2.500]         1.196"
    assert lines[4] == (
        "a batch of 32, beam 5, 24 tokens takes 1.500 s with all heads; a card, 2 threads"
    )
    assert "apart" not in lines[6]
    assert lines[5] == "too short to tell from noise: encoder.self; priced at 0.01 of the mean"


def test_what_is_not_told_apart_from_nothing_is_named(tmp_path):
    rounds = dict(zip(KINDS, ([-0.1, 0.1, 0.2], [1.0] * 3, [2.0] * 3), strict=True))
    prices = Prices(dict.fromkeys(KINDS, 8), rounds, 1.5, "a card", 2, Measure())
    lines = measure_command.render(prices, tmp_path / "costs.json").splitlines()
    assert lines[5].startswith("not told apart from 0: encoder.self; give more --repeats")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_timed(tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file/costs.yaml"
    with pytest.raises(SystemExit, match=r"cannot write .*costs.yaml: .*file is a file"):
        measure_command.main([str(tmp_path / "none.pt"), "--output", str(output)])
