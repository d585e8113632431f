"""Preparing two text files: what is kept, how it is split, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import data_folder
import parallel_corpus
import pytest
from prep_helpers import (
    ODD,
    assert_refused,
    binarised,
    generated,
    lines,
    names,
    put_lines,
    settings_of,
    words,
)

from dsp_fairseq.evaluation.bleu import score_file

LONG = (" ".join(["Wort"] * 10000), " ".join(["word"] * 10000))
UNEVEN = ("Nein", "No , no , no")
EMPTY = (" \t", "Nothing there.")
ALSO = ("Ja.", "Yes.")
TWO_WAYS = ("Ja.", "Sure.")


@pytest.fixture(scope="session")
def good_pairs(pristine_corpus) -> list[tuple[str, str]]:
    halves = (lines(pristine_corpus / f"train.{code}") for code in ("de", "en"))
    return [*zip(*halves, strict=True), ALSO, TWO_WAYS]


@pytest.fixture(scope="session")
def pristine_files(tmp_path_factory, good_pairs) -> Path:
    """A folder with my.de and my.en: good pairs, ten of them twice, and others; do not change."""
    folder = tmp_path_factory.mktemp("files")
    pairs = [*good_pairs, *good_pairs[:10], LONG, UNEVEN, EMPTY]
    for code, half in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
        (folder / f"my.{code}").write_text("".join(f"{line}\n" for line in half), encoding="utf-8")
    return folder


@pytest.fixture
def files(pristine_files, tmp_path) -> Path:
    """A copy of the two files, to be damaged at will."""
    return Path(shutil.copytree(pristine_files, tmp_path / "files"))


def files_argv(folder: Path, out: Path, *more: str) -> list[str]:
    """The arguments that prepare the two files."""
    halves = ("--source-file", str(folder / "my.de"), "--target-file", str(folder / "my.en"))
    return [*halves, "--out", str(out), "--vocab-size", "200", *more]


@pytest.fixture(scope="session")
def prepared(
    data_prep, pristine_files, tmp_path_factory
) -> tuple[Path, subprocess.CompletedProcess]:
    """What the real command makes of the two files, and what it printed."""
    out = tmp_path_factory.mktemp("parallel") / "data"
    more = ("--valid", "20", "--test", "30")
    command = ["bash", str(data_prep / "prepare-parallel.sh")]
    run = subprocess.run(
        command + files_argv(pristine_files, out, *more), capture_output=True, text=True
    )
    return out, run


def raw_splits(out: Path) -> dict[str, list[tuple[str, str]]]:
    return {
        split: list(
            zip(*(lines(out / "raw" / f"{split}.{side}") for side in ("src", "tgt")), strict=True)
        )
        for split in ("valid", "test")
    }


def test_every_good_pair_is_in_one_split(prepared, good_pairs):
    out, run = prepared
    assert run.returncode == 0, run.stderr
    said = next(line for line in run.stdout.splitlines() if line.startswith("kept"))
    assert said.startswith("kept 302 of 315 pairs (left out: 10 duplicate; ")
    for reason in ("1 longer than 175 words", "1 uneven, ratio above 3", "1 empty"):
        assert reason in said
    held_out = raw_splits(out)
    assert {split: len(pairs) for split, pairs in held_out.items()} == {"valid": 20, "test": 30}
    chosen = {pair for pairs in held_out.values() for pair in pairs}
    assert len(chosen) == 50
    assert chosen < set(good_pairs)
    trained = zip(*(binarised(out, "train", code) for code in ("de", "en")), strict=True)
    trained = {tuple(map(words, pair)) for pair in trained}
    clean = parallel_corpus.TextSettings("de", "en", "bpe", 200, False, True).cleaners()
    expected = {
        (clean[0](first), clean[1](second))
        for first, second in good_pairs
        if (first, second) not in chosen
    }
    assert trained == expected
    settings = settings_of(out)
    assert [settings[f"lines_{split}"] for split in ("train", "valid", "test")] == [252, 20, 30]
    assert names(out.parent) == {"data"}


@pytest.mark.usefixtures("without_fairseq")
def test_nothing_tested_was_trained_on(files, tmp_path):
    """Of three pairs that share sentences none is ever held out, whatever the seed."""
    for seed in range(5):
        out = tmp_path / str(seed)
        sizes = ("--valid", "150", "--test", "150")
        parallel_corpus.main(files_argv(files, out, "--seed", str(seed), *sizes))
        held_out = raw_splits(out)
        assert not {ALSO, TWO_WAYS} & {*held_out["valid"], *held_out["test"]}


@pytest.mark.usefixtures("without_fairseq")
def test_the_split_is_a_function_of_the_seed(files, tmp_path):
    seeds = ("1", "1", "2")
    for number, seed in enumerate(seeds):
        parallel_corpus.main(files_argv(files, tmp_path / str(number), "--seed", seed))
    first, again, other = (raw_splits(tmp_path / str(number)) for number in range(3))
    assert first == again
    assert first != other


@pytest.mark.usefixtures("without_fairseq")
def test_both_directions_have_the_same_splits(files, tmp_path):
    parallel_corpus.main(files_argv(files, tmp_path / "there"))
    halves = ["--source-file", str(files / "my.en"), "--target-file", str(files / "my.de")]
    parallel_corpus.main([*halves, "--vocab-size", "200", "--out", str(tmp_path / "back")])
    assert (settings_of(tmp_path / "back")["source"]) == "en"
    for split, pairs in raw_splits(tmp_path / "there").items():
        assert raw_splits(tmp_path / "back")[split] == [pair[::-1] for pair in pairs]


@pytest.mark.parametrize(
    ("pairs", "valid", "test", "sizes"),
    [
        (10, None, None, (1, 1)),
        (1000, None, None, (20, 20)),
        (1000000, None, None, (2000, 2000)),
        (1000, 7, None, (7, 20)),
        (1000, None, 7, (20, 7)),
    ],
)
def test_split_sizes(pairs, valid, test, sizes):
    assert tuple(parallel_corpus.split_sizes(pairs, valid, test).values()) == sizes


def test_scores_follow_the_data(prepared, tmp_path):
    out, _ = prepared
    scores = score_file(generated(out, tmp_path / "test.out"), out)
    assert scores["tokenised_bleu"].score == 100
    assert scores["sacrebleu"].score > 99


def test_sentencepiece(run, files, tmp_path):
    out = tmp_path / "out"
    more = ("--subword", "sentencepiece", "--lowercase", "--max-ratio", "9", "--keep-duplicates")
    result = run("prepare-parallel.sh", *files_argv(files, out, *more))
    assert result.returncode == 0, result.stderr
    # Without a tokeniser UNEVEN has one word and six, and stays.
    assert "kept 313 of 315 pairs" in result.stdout
    assert {"spm.model", "spm.vocab", "train.de-en.de.bin"} <= names(out)
    scores = score_file(generated(out, tmp_path / "test.out"), out)
    assert scores["sacrebleu"].score > 99


@pytest.mark.usefixtures("without_fairseq")
@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_pairs_that_show_nothing_are_left_out_and_named(files, tmp_path, capsys, kind):
    odd = dict(enumerate(ODD.values(), start=21))
    put_lines(files / "my.en", odd)
    parallel_corpus.main(files_argv(files, tmp_path / "out", "--subword", kind, "--max-ratio", "9"))
    said = capsys.readouterr().out
    assert "; 15 empty" in said or "15 empty;" in said
    named = f"empty: {files}/my.en, line 21, 22, 23, 24, 25, 26, 27, 28, 29, 30 and 4 more; "
    assert f"{named}{files}/my.de, line 315\n" in said
    for pairs in raw_splits(tmp_path / "out").values():
        assert not {*ODD.values()} & {sentence for pair in pairs for sentence in pair}


@pytest.mark.usefixtures("without_fairseq")
def test_a_held_out_sentence_that_is_too_long_is_named_by_its_own_line(
    monkeypatch, refusal, files, tmp_path
):
    parallel_corpus.main(files_argv(files, tmp_path / "out"))
    first = raw_splits(tmp_path / "out")["valid"][0][0]
    number = lines(files / "my.de").index(first) + 1
    monkeypatch.setattr(data_folder, "LONGEST", 1)
    error = refusal(parallel_corpus, files_argv(files, tmp_path / "again"))
    assert f"{files}/my.de, line {number}: " in error
    assert "tokens, more than the 1 that fairseq's models take" in error


# Safe re-runs


@pytest.mark.usefixtures("without_fairseq")
@pytest.mark.parametrize(
    ("more", "key"),
    [
        (("--seed", "2"), "seed"),
        (("--max-ratio", "2"), "max_ratio"),
        (("--test", "9"), "test"),
    ],
)
def test_if_missing_refuses_what_differs(refusal, files, tmp_path, more, key):
    out = tmp_path / "out"
    parallel_corpus.main(files_argv(files, out))
    argv = files_argv(files, out, *more)
    assert f"another {key} (" in refusal(parallel_corpus, [*argv, "--if-missing"])
    assert "exists; remove it" in refusal(parallel_corpus, argv)


# Refusals


def damage_no_lines(files):
    for code in ("de", "en"):
        (files / f"my.{code}").write_bytes(b"")
    return "my.de has no lines"


def damage_nothing_good(files):
    for code in ("de", "en"):
        (files / f"my.{code}").write_bytes(b"\n \n")
    return "0 pairs are left"


def damage_too_few(files):
    for code in ("de", "en"):
        path = files / f"my.{code}"
        path.write_text("\n".join(lines(path)[:2]) + "\n", encoding="utf-8")
    return "2 pairs are left, 2 of them with sentences that come once: too few for 1 in valid, 1"


@pytest.mark.parametrize(
    "damage",
    [
        damage_no_lines,
        damage_nothing_good,
        damage_too_few,
    ],
)
def test_bad_input_is_refused_and_nothing_left(refusal, files, tmp_path, damage):
    fragment = damage(files)
    place = tmp_path / "place"
    place.mkdir()
    assert fragment in refusal(parallel_corpus, files_argv(files, place / "out"))
    assert names(place) == set()


@pytest.mark.parametrize(
    ("more", "fragment"),
    [
        (("--source", "en"), "both en"),
        (("--target-file", "no.en"), "there is no file no.en; give another --target-file"),
        (("--valid", "0"), "whole number above 0"),
        (("--max-ratio", "0.5"), "number of at least 1"),
        (("--max-ratio", "nan"), "number of at least 1"),
        (("--max-length", "1"), "0 pairs are left"),
        (("--test", "300"), "too few for 6 in valid, 300 in test"),
        (("--vocab-size", "1", "--subword", "sentencepiece"), "give another --vocab-size"),
    ],
)
def test_bad_options_are_refused(refusal, files, tmp_path, more, fragment):
    assert fragment in refusal(parallel_corpus, files_argv(files, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_the_language_is_in_the_name_or_given(run, refusal, files, tmp_path):
    (files / "my.de").rename(files / "german.txt")
    argv = ["--source-file", str(files / "german.txt"), "--target-file", str(files / "my.en")]
    argv += ["--out", str(tmp_path / "out")]
    assert "german.txt does not end in a language" in refusal(parallel_corpus, argv)
    result = run("prepare-parallel.sh", *argv, "--source", "en")
    assert_refused(result, "both en")
