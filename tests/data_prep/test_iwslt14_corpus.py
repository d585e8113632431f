"""The field's preparation of IWSLT14, on a miniature of its archive."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import iwslt14_corpus
import pytest
from fairseq.data import Dictionary
from iwslt14_miniature import TALK, TESTS, titles, write_archive, write_miniature
from prep_helpers import (
    assert_refused,
    binarised,
    generated,
    lines,
    names,
    settings_of,
    words,
)

from dsp_fairseq.evaluation.bleu import score_file
from dsp_text.settings import load_encoder

TOO_LONG = (" ".join(["Wort"] * 176), " ".join(["word"] * 176))
LONG = (" ".join(["Wort"] * 175), " ".join(["word"] * 175))
UNEVEN = ("Eins zwei drei vier", "One two")
EVEN_ENOUGH = ("Eins zwei drei", "One two")
EMPTY = ("", "Nothing there")
SPECIAL = ('Er sagt: "A & B" | [<Ä>]', 'He says: "A & B" | [<Ä>]')
TYPOGRAPHIC = ("Ich hab’s „gesagt“.", "I’ve said it – didn’t I?")
SPECIAL_CASES = (TOO_LONG, LONG, UNEVEN, EVEN_ENOUGH, EMPTY, SPECIAL, TYPOGRAPHIC)


@pytest.fixture(scope="session")
def train_pairs(pristine_corpus) -> list[tuple[str, str]]:
    halves = (lines(pristine_corpus / f"train.{code}")[:193] for code in ("de", "en"))
    pairs = list(zip(*halves, strict=True))
    for place, pair in enumerate(SPECIAL_CASES):
        pairs.insert(7 + 19 * place, pair)
    assert len(pairs) == 10 * TALK
    return pairs


@pytest.fixture(scope="session")
def test_pairs(pristine_corpus) -> list[list[tuple[str, str]]]:
    halves = (lines(pristine_corpus / f"test.{code}") for code in ("de", "en"))
    pairs = list(zip(*halves, strict=True))
    talks = [pairs[3 * i : 3 * i + 2 + i % 2] for i in range(len(TESTS))]
    # What training leaves out is tested all the same.
    return [*talks[:-1], [*talks[-1], TYPOGRAPHIC, UNEVEN, TOO_LONG]]


@pytest.fixture(scope="session")
def miniature(tmp_path_factory, train_pairs, test_pairs) -> Path:
    """The unpacked folder; do not change it."""
    folder = tmp_path_factory.mktemp("iwslt14") / "de-en"
    write_miniature(folder, train_pairs, test_pairs)
    return folder


@pytest.fixture(scope="session")
def archive(miniature, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "de-en.tgz"
    write_archive(miniature, path)
    return path


@pytest.fixture(scope="session")
def prepared(data_prep, archive, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """What the real command makes of the archive, and what it printed."""
    out = tmp_path_factory.mktemp("prepared") / "data"
    command = ["bash", str(data_prep / "prepare-iwslt14.sh"), "--from", archive, "--out", out]
    return out, subprocess.run(command, capture_output=True, text=True)


def kept_pairs(train_pairs) -> list[tuple[str, str]]:
    """What training and validation hold, in order: the titles are part of it."""
    talks = [train_pairs[start : start + TALK] for start in range(0, len(train_pairs), TALK)]
    pairs = [pair for number, talk in enumerate(talks) for pair in (*titles(number), *talk)]
    return [pair for pair in pairs if pair not in (TOO_LONG, UNEVEN, EMPTY)]


def test_splits_are_those_of_the_field(prepared, train_pairs, test_pairs):
    out, run = prepared
    assert run.returncode == 0, run.stderr
    pairs = kept_pairs(train_pairs)
    assert {LONG, EVEN_ENOUGH, SPECIAL} <= set(pairs)
    assert len(pairs) == 217
    valid = [pair for number, pair in enumerate(pairs, start=1) if number % 23 == 0]
    tested = [pair for talk in test_pairs for pair in talk]
    for side, (name, code) in enumerate((("src", "de"), ("tgt", "en"))):
        assert [line.strip() for line in lines(out / "raw" / f"valid.{name}")] == [
            pair[side] for pair in valid
        ]
        assert lines(out / "raw" / f"test.{name}") == [
            pair[side].replace("’", "'") for pair in tested
        ]
        assert len(binarised(out, "train", code)) == len(pairs) - len(valid)
    settings = settings_of(out)
    assert [settings[f"lines_{split}"] for split in ("train", "valid", "test")] == [208, 9, 15]
    assert settings["lines_test"] == len(tested)


def test_text_is_tokenised_escaped_and_lowercased_but_not_normalised(prepared, test_pairs):
    out, _ = prepared
    tested = [pair for talk in test_pairs for pair in talk].index(TYPOGRAPHIC)
    german, english = (
        words(load_encoder(out, side)(lines(out / "raw" / f"test.{name}")[tested]))
        for side, name in (("source", "src"), ("target", "tgt"))
    )
    assert german == "ich hab &apos; s „ gesagt “ ."
    assert english == "i &apos;ve said it – didn &apos;t i ?"
    special = "he says : &quot; a &amp; b &quot; &#124; &#91; &lt; ä &gt; &#93;"
    assert special in [words(tokens) for tokens in binarised(out, "train", "en")]
    learnt = " ".join(words(tokens) for tokens in binarised(out, "train", "en"))
    assert "i ’ ve said it – didn ’ t i ?" in learnt, "apostrophes of training stay as they are"
    assert "<" not in learnt


def test_different_line_counts_are_a_warning(prepared):
    out, run = prepared
    assert run.stderr.splitlines() == [
        "warning: train has 208 lines, the standard preparation 160,239",
        "warning: valid has 9 lines, the standard preparation 7,283",
        "warning: test has 15 lines, the standard preparation 6,750",
    ]
    assert "kept 217 of 220 pairs (left out: 1 " in run.stdout
    assert names(out.parent) == {"data"}
    assert "work" not in names(out)


def test_the_standard_line_counts_give_no_warning(capsys):
    counts = {"train": 160239, "valid": 7283, "test": 6750}
    iwslt14_corpus.warn_of_counts(counts)
    said = capsys.readouterr()
    assert said.err == ""
    assert "the standard ones" in said.out
    iwslt14_corpus.warn_of_counts(counts | {"train": 160240})
    said = capsys.readouterr()
    assert said.err == "warning: train has 160,240 lines, the standard preparation 160,239\n"
    assert said.out == ""


def test_the_vocabulary_counts_merges(miniature, tmp_path, without_fairseq):
    argv = ["--from", str(miniature), "--vocab-size", "50", "--out", str(tmp_path / "out")]
    iwslt14_corpus.main(argv)
    header, *merges = lines(tmp_path / "out" / "codes.bpe")
    assert header.startswith("#version")
    assert len(merges) == 50


def test_scores_and_new_text_follow_the_data(prepared, tmp_path):
    out, _ = prepared
    scores = score_file(generated(out, tmp_path / "test.out"), out)
    assert scores["tokenised_bleu"].score == 100
    assert scores["sacrebleu"].score > 80
    for side, name, code in (("source", "src", "de"), ("target", "tgt", "en")):
        encode = load_encoder(out, side)
        dictionary = Dictionary.load(str(out / f"dict.{code}.txt"))
        encoded = [
            dictionary.string(dictionary.encode_line(encode(line), add_if_not_exist=False))
            for line in lines(out / "raw" / f"test.{name}")
        ]
        assert encoded == binarised(out, "test", code)


def test_folders_and_both_directions_give_the_same_text(
    prepared, miniature, tmp_path, without_fairseq
):
    out, _ = prepared
    iwslt14_corpus.main(
        ["--from", str(miniature.parent), "--source", "en", "--out", str(tmp_path / "en-de")]
    )
    turned = tmp_path / "en-de"
    assert (settings_of(turned)["source"], settings_of(turned)["target"]) == ("en", "de")
    assert (turned / "codes.bpe").read_bytes() == (out / "codes.bpe").read_bytes()
    hashes = {key: value for key, value in settings_of(out).items() if key.startswith("sha256")}
    assert len(hashes) == 7
    assert hashes == {key: settings_of(turned)[key] for key in hashes}


# Safe re-runs


def test_if_missing_keeps_what_is_the_same(run, prepared, archive, miniature):
    out, _ = prepared
    before = (out / "prep.json").stat().st_mtime_ns
    for origin in (("--from", archive), ("--from", miniature), ()):
        # Without --from, nothing is downloaded either.
        result = run(
            "prepare-iwslt14.sh", *origin, "--out", out, "--if-missing", IWSLT14_URL="file:///no"
        )
        assert result.returncode == 0, result.stderr
        assert "already prepared" in result.stdout
    assert (out / "prep.json").stat().st_mtime_ns == before


def test_if_missing_refuses_what_differs(run, prepared, miniature, tmp_path):
    out, _ = prepared
    folder = shutil.copytree(miniature, tmp_path / "other")
    with (folder / "train.tags.de-en.de").open("ab") as stream:
        stream.write(b"Mehr\n")
    again = ("--out", out, "--if-missing")
    result = run("prepare-iwslt14.sh", "--from", folder, *again)
    assert_refused(result, "another sha256_files")
    assert_refused(run("prepare-iwslt14.sh", "--source", "en", *again), "another source")
    assert_refused(run("prepare-iwslt14.sh", "--from", folder, "--out", out), "exists; remove it")


# Where the archive comes from


def test_the_archive_is_downloaded(monkeypatch, without_fairseq, archive, tmp_path, capsys):
    monkeypatch.setenv("IWSLT14_URL", f"file://{archive}")
    iwslt14_corpus.main(["--vocab-size", "50", "--out", str(tmp_path / "out")])
    assert f"downloading file://{archive}" in capsys.readouterr().out
    assert settings_of(tmp_path / "out")["lines_train"] == 208


@pytest.mark.parametrize("url", ["file:///nowhere/de-en.tgz", "http://127.0.0.1:9/x", "nonsense"])
def test_a_failed_download_is_one_clear_line(run, tmp_path, url):
    result = run("prepare-iwslt14.sh", "--out", tmp_path / "place" / "out", IWSLT14_URL=url)
    assert_refused(result, f"could not download {url} (")
    assert "give it with --from" in result.stderr
    assert not (tmp_path / "place").exists()


def damage_truncated(folder: Path) -> str:
    path = folder / "de-en.tgz"
    path.write_bytes(path.read_bytes()[:-3000])
    return "is not a whole tar archive"


def damage_no_archive(folder: Path) -> str:
    (folder / "de-en.tgz").write_text("<html>Not found</html>")
    return "is not a whole tar archive"


def damage_absent(folder: Path) -> str:
    (folder / "de-en.tgz").unlink()
    return "there is no "


def damage_other_archive(folder: Path) -> str:
    (folder / "README").touch()
    write_archive(folder / "README", folder / "de-en.tgz")
    return "holds no train.tags.de-en.de"


@pytest.mark.parametrize(
    "damage", [damage_truncated, damage_no_archive, damage_absent, damage_other_archive]
)
def test_bad_archives_are_refused(refusal, archive, tmp_path, damage):
    shutil.copy(archive, tmp_path)
    fragment = damage(tmp_path)
    place = tmp_path / "place"
    argv = ["--from", str(tmp_path / "de-en.tgz"), "--out", str(place / "out")]
    assert fragment in refusal(iwslt14_corpus, argv)
    assert not place.exists()


def damage_missing_file(folder: Path) -> str:
    (folder / "IWSLT14.TEDX.dev2012.de-en.en.xml").unlink()
    return "holds no IWSLT14.TEDX.dev2012.de-en.en.xml"


def damage_line_counts(folder: Path) -> str:
    with (folder / "train.tags.de-en.en").open("ab") as stream:
        stream.write(b"More\n")
    return "train.tags.de-en has 220 sentences in de but 221 in en"


def damage_encoding(folder: Path) -> str:
    path = folder / "IWSLT14.TED.tst2010.de-en.de.xml"
    path.write_bytes(path.read_bytes() + "Käse\n".encode("latin-1"))
    return f"{path.name}, line {len(path.read_bytes().splitlines())}: not valid UTF-8"


def damage_no_tests(folder: Path) -> str:
    for path in folder.glob("*.xml"):
        path.write_text("<mteval>\n</mteval>\n")
    return "no pair is left for test"


@pytest.mark.parametrize(
    "damage", [damage_missing_file, damage_line_counts, damage_encoding, damage_no_tests]
)
def test_bad_folders_are_refused_and_nothing_left(refusal, miniature, tmp_path, damage):
    folder = shutil.copytree(miniature, tmp_path / "de-en")
    fragment = damage(folder)
    place = tmp_path / "place"
    place.mkdir()
    argv = ["--from", str(folder), "--out", str(place / "out")]
    assert fragment in refusal(iwslt14_corpus, argv)
    assert names(place) == set()


@pytest.mark.parametrize(
    ("given", "languages"),
    [
        ((), ("de", "en")),
        (("--source", "en"), ("en", "de")),
        (("--target", "de"), ("en", "de")),
        (("--source", "de", "--target", "en"), ("de", "en")),
    ],
)
def test_one_side_is_enough_for_the_direction(given, languages):
    args = iwslt14_corpus.build_parser().parse_args(["--out", "x", *given])
    assert iwslt14_corpus.iwslt14_settings(args).languages == languages


def test_one_language_into_itself_is_refused(refusal, miniature, tmp_path):
    argv = ["--from", str(miniature), "--source", "en", "--target", "en"]
    assert "both en" in refusal(iwslt14_corpus, [*argv, "--out", str(tmp_path / "out")])
