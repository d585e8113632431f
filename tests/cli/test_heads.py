"""What dsp-heads writes, and what it does not replace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from saved_models import printed_heads

from dsp_fairseq.cli.heads import main
from dsp_fairseq.errors import CommandExit


@pytest.mark.parametrize("flag", ["--json", "--plot"])
def test_a_file_that_exists_stays_without_force(gated, save, capsys, tmp_path, flag):
    path, target = save(gated()), tmp_path / "heads.svg"
    target.write_text("mine")
    with pytest.raises(CommandExit, match="exists: give --force"):
        main([str(path), flag, str(target)])
    assert target.read_text() == "mine"
    printed_heads(capsys, path, flag, target, "--force")
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


def test_as_a_module(gated, save, warm, tmp_path):
    command = [sys.executable, "-m", "dsp_fairseq.cli.heads"]
    path, plot = save(gated(6, frozen=True)), tmp_path / "heads.png"
    done = subprocess.run([*command, path, "--plot", plot], capture_output=True, text=True)
    assert done.returncode == 0 and "6 of 24 heads kept" in done.stdout
    assert "DEBUG" not in done.stderr
