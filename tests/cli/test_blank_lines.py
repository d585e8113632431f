"""Lines in which nothing can be seen, on the whole way from raw text to scores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dsp_fairseq import USER_DIR
from dsp_fairseq.evaluation.bleu import score_file
from dsp_fairseq.evaluation.generated import read_generated

ROOT = Path(__file__).parents[2]
PAIRS = [("ein Hund läuft", "a dog runs"), ("der Hund schläft", "the dog sleeps")] * 20
HELD_OUT = [
    ("ein Hund schläft", "a dog sleeps"),
    ("\u200b", "a dog"),
    ("ein Hund", "\ufffd\u2581"),
] * 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_blank_lines_go_all_the_way(run, train, warm, tmp_path, kind):
    for split, pairs in (("train", PAIRS), ("valid", HELD_OUT), ("test", HELD_OUT)):
        for code, half in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
            (tmp_path / f"{split}.{code}").write_text("\n".join(half) + "\n", encoding="utf-8")
    prefixes = [part for s in ("train", "valid", "test") for part in (f"--{s}", tmp_path / s)]
    command = [sys.executable, ROOT / "data-prep/prepare_text.py", *prefixes, "--subword", kind]
    data = tmp_path / "data"
    subprocess.run([*command, "--vocab-size", "40", "--out", data], check=True)

    trained = train(tmp_path / "run", "--max-update", "3", data=data)
    assert trained.status == 0, trained.log
    assert (tmp_path / "run/checkpoint_best.pt").exists(), "no validation"
    generated = run(
        *("generate", data, "--user-dir", USER_DIR, "--cpu", "--max-len-b", "5"),
        *("--path", tmp_path / "run/checkpoint_best.pt", "--required-batch-size-multiple", "1"),
    )
    output = tmp_path / "test.out"
    output.write_text(generated.out, encoding="utf-8")
    _, references = read_generated(output)
    assert [bool(line) for line in references] == [True, True, False] * 8
    assert score_file(output, data)["chrf"].ceiling is None
