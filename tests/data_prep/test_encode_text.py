"""The command that encodes new text."""

from __future__ import annotations

import io
import subprocess
import sys

import encode_text
import prepare_text
import pytest
from prep_helpers import prepare_argv


@pytest.fixture
def prepared_without_fairseq(without_fairseq, corpus, tmp_path):
    prepare_text.main(prepare_argv(corpus, tmp_path / "data", "--lowercase"))
    return tmp_path / "data"


def test_it_works_as_a_filter(data_prep, prepared_without_fairseq):
    command = [sys.executable, str(data_prep / "encode_text.py"), str(prepared_without_fairseq)]
    text = "Der Hund schläft nicht.\r\nRuft er\u2028mich an?"
    run = subprocess.run(command, input=text.encode(), capture_output=True)
    assert run.returncode == 0, run.stderr
    words = run.stdout.decode().replace("@@ ", "")
    assert words == "der hund schläft nicht .\nruft er mich an ?\n"


@pytest.mark.parametrize("blank", ["", " \t", "\u200b", "\ufffd", "\u2581", "\x00", "\r", "\u3164"])
@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_a_blank_line_gives_a_blank_line(without_fairseq, corpus, tmp_path, kind, blank):
    prepare_text.main(prepare_argv(corpus, tmp_path / "data", "--subword", kind))
    source, sink = io.BytesIO(f"Ja.\n{blank}\nJa.\n".encode()), io.BytesIO()
    encode_text.encode_stream(tmp_path / "data", "source", source, sink)
    first, second, third, end = sink.getvalue().decode().split("\n")
    assert first == third != ""
    assert second == end == ""


def test_text_that_is_not_utf8_is_refused(monkeypatch, refusal, prepared_without_fairseq):
    text = b"Gut.\nK\xe4se.\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    error = refusal(encode_text, [str(prepared_without_fairseq)])
    assert "stdin, line 2: not valid UTF-8" in error
