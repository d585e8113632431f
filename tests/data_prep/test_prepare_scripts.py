"""The shell commands: what they hand on, and what they refuse."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
from prep_helpers import assert_refused

PREFIXES = ("train", "val", "test_2016_flickr")
TOOLS = ("bash", "dirname", "mktemp", "rm", "cat")


@pytest.fixture
def captions(tmp_path, pristine_corpus) -> Path:
    """A folder named as Multi30k's, but far too small."""
    folder = tmp_path / "captions"
    folder.mkdir()
    for prefix, split in zip(PREFIXES, ("train", "valid", "test"), strict=True):
        for code in ("de", "en"):
            content = (pristine_corpus / f"{split}.{code}").read_bytes()
            (folder / f"{prefix}.{code}.gz").write_bytes(gzip.compress(content))
    return folder


def path_with(folder: Path, **stubs: str) -> str:
    """A PATH of a few tools and these stubs alone."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    for name, body in stubs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    "name", [f"prepare-{name}.sh" for name in ("multi30k", "toy", "iwslt14", "parallel")]
)
def test_help_teaches_with_an_example(run, name):
    result = run(name, "--help")
    assert result.returncode == 0
    assert f"bash data-prep/{name}" in result.stdout
    assert "example:" in result.stdout


def test_multi30k_counts_are_checked(run, captions, tmp_path):
    result = run("prepare-multi30k.sh", "--from", captions, "--out", tmp_path / "place" / "out")
    assert_refused(result, "train.de.gz has 300 lines where 29000 were expected")
    assert not (tmp_path / "place").exists()


def test_multi30k_options_reach_the_preparation(run, captions, tmp_path):
    result = run(
        "prepare-multi30k.sh", f"--from={captions}", "--source", "fr", "--out", tmp_path / "out"
    )
    assert_refused(result, "train.fr")
    assert_refused(run("prepare-multi30k.sh", "--from", captions, "--bogus"), "--out")


@pytest.mark.parametrize(
    ("args", "fragment"),
    [(("--from",), "--from needs a folder"), (("--from", "/nowhere"), "no folder /nowhere")],
)
def test_multi30k_needs_a_real_folder(run, args, fragment):
    assert_refused(run("prepare-multi30k.sh", *args), fragment)


@pytest.mark.parametrize(
    "stubs",
    [
        {"curl": "exit 7"},
        {"wget": "exit 4"},
        {"curl": 'echo half > "$7"; exit 18'},
    ],
    ids=["curl", "wget", "broken off"],
)
def test_a_failed_download_suggests_from(run, tmp_path, stubs):
    path = path_with(tmp_path / "bin", **stubs)
    result = run("prepare-multi30k.sh", "--out", tmp_path / "out", PATH=path)
    assert_refused(result, "could not download https://")
    assert "--from FOLDER" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_download_without_curl_and_wget_is_refused(run, tmp_path):
    path = path_with(tmp_path / "bin")
    result = run("prepare-multi30k.sh", "--out", tmp_path / "out", PATH=path)
    assert_refused(result, "neither curl nor wget is installed")


def test_downloaded_files_are_used(run, captions, tmp_path):
    """The stub fetches from a folder; the wrong counts prove whose lines were counted."""
    copy = 'while [ $# -gt 2 ]; do shift; done; cp "${2#file://}" "$1"'
    path = path_with(tmp_path / "bin", curl=copy) + f":{os.environ['PATH']}"
    result = run(
        "prepare-multi30k.sh",
        "--out",
        tmp_path / "out",
        PATH=path,
        MULTI30K_URL=f"file://{captions}",
    )
    assert_refused(result, "train.de.gz has 300 lines where 29000 were expected")
    assert result.stdout.count("downloading") == 6


def test_toy_data_in_one_go(run, tmp_path):
    sizes = ("--train", "300", "--valid=20", "--test", "10", "--seed", "4")
    out = tmp_path / "toy"
    result = run("prepare-toy.sh", "--out", out, "--source", "en", "--target", "de", *sizes)
    assert result.returncode == 0, result.stderr
    settings = json.loads((out / "prep.json").read_text(encoding="utf-8"))
    assert settings["vocab_size"] == 1000
    assert [settings[f"lines_{split}"] for split in ("train", "valid", "test")] == [300, 20, 10]
    assert (out / "train.en-de.de.bin").exists()
    assert_refused(run("prepare-toy.sh", "--out", out, *sizes), "exists; remove it")
    again = run("prepare-toy.sh", "--out", out, "--if-missing", *sizes)
    assert_refused(again, "another source")


def test_toy_needs_its_numbers(run):
    assert_refused(run("prepare-toy.sh", "--seed"), "--seed needs a number")
    assert_refused(run("prepare-toy.sh", "--train", "none"), "whole number above 0")
