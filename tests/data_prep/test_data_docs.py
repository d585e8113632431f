"""Every command in docs/data.md is run, in its order, in a folder that holds the files it names."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest
from iwslt14_miniature import TESTS, write_archive, write_miniature
from prep_helpers import generated, lines, names, settings_of
from reader import Reader

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
COMMANDS = [
    re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip()
    for block in re.findall(r"(?:^ {4}.+\n)+", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
]
MULTI30K_LINES = {"train": 29000, "val": 1014, "test_2016_flickr": 1000}


@pytest.fixture(scope="module")
def reader(warm_server, tmp_path_factory, pristine_corpus) -> Reader:
    """One who has the files that the docs name, with toy sentences in all."""
    someone = Reader(tmp_path_factory.mktemp("docs"), warm_server)
    folder = someone.folder
    for split in ("train", "valid", "test"):
        for code in ("de", "en"):
            shutil.copy(pristine_corpus / f"{split}.{code}", folder)
    halves = [lines(pristine_corpus / f"train.{code}") for code in ("de", "en")]
    for code, half in zip(("de", "en"), halves, strict=True):
        shutil.copy(folder / f"train.{code}", folder / f"my.{code}")
        for name, count in MULTI30K_LINES.items():
            text = "".join(f"{line}\n" for line in islice(cycle(half), count))
            (folder / f"{name}.{code}.gz").write_bytes(gzip.compress(text.encode()))
    examples = (f"{label}\t{line}\n" for label, line in zip(cycle("yn"), halves[0], strict=False))
    (folder / "my.tsv").write_text("".join(examples), encoding="utf-8")
    pairs = list(zip(*halves, strict=True))
    write_miniature(folder / "iwslt14", pairs, [pairs[:3]] * len(TESTS))
    write_archive(folder / "iwslt14", folder / "de-en.tgz")
    return someone


def run_as_written(command: str, reader: Reader) -> str:
    """Run a command of the docs; downloads come from the folder, too."""
    place = f"file://{reader.folder}"
    return reader.paste(command, MULTI30K_URL=place, IWSLT14_URL=f"{place}/de-en.tgz")


@pytest.mark.slow
def test_every_command_works_as_written(reader):
    place, outs = reader.folder, []
    for command in COMMANDS:
        if command.startswith("dsp-score"):
            generated(place / "data/mine", place / "test.out")
        printed = run_as_written(command, reader)
        if command.startswith("dsp-score"):
            assert "tokenised bleu  100.00" in printed
        elif out := re.search(r"--out (\S+)", command):
            outs.append(out[1])
            assert f"wrote {out[1]}" in printed
            assert settings_of(place / out[1])["lines_train"] > 0
        else:
            assert printed.replace("@@ ", "") == "Ein Hund läuft durch den Schnee .\n"
    assert len(COMMANDS) == len(outs) + 2 == 11
    assert {f"data/{name}" for name in names(place / "data")} == set(outs)


def test_every_flag_named_is_one_that_a_script_has(data_prep):
    """Flags in the docs are spelt as some --help has them; fairseq's own are few."""
    known = {"--remove-bpe", "--help"}
    for name in ("toy", "multi30k", "iwslt14", "parallel", "nli"):
        command = ["bash", str(data_prep / f"prepare-{name}.sh"), "--help"]
        known |= set(re.findall(r"--[a-z-]+", subprocess.check_output(command, text=True)))
    for command in (
        [sys.executable, str(data_prep / "prepare_text.py"), "--help"],
        [sys.executable, "-m", "dsp_fairseq.cli.score", "--help"],
    ):
        known |= set(re.findall(r"--[a-z-]+", subprocess.check_output(command, text=True)))
    named = set(re.findall(r"--[a-z-]+[a-z]", DOCS.read_text(encoding="utf-8")))
    assert len(named) > 15
    assert named <= known
