"""Preparing raw text: what comes out, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil

import prepare_text
import pytest
from fairseq.data import Dictionary
from prep_helpers import ODD, SIZES, binarised, generated, lines, names, prepare_argv, put_lines
from sacremoses import MosesDetokenizer

from dsp_fairseq.evaluation.bleu import score_file
from dsp_text.settings import LATER_SETTINGS, load_encoder


def test_bpe_folder_is_complete(prepared_bpe, pristine_corpus):
    expected = {"raw", "prep.json", "preprocess.log", "codes.bpe", "dict.de.txt", "dict.en.txt"}
    expected |= {
        f"{split}.de-en.{language}.{part}"
        for split in SIZES
        for language in ("de", "en")
        for part in ("bin", "idx")
    }
    assert names(prepared_bpe) == expected
    dictionaries = [(prepared_bpe / f"dict.{code}.txt").read_bytes() for code in ("de", "en")]
    assert dictionaries[0] == dictionaries[1]
    assert names(prepared_bpe.parent) == {"data"}


def test_settings_record_how_the_data_was_made(prepared_bpe, pristine_corpus):
    settings = json.loads((prepared_bpe / "prep.json").read_text(encoding="utf-8"))
    expected = {"format_version": 1, "source": "de", "target": "en", "subword": "bpe"}
    expected |= {"vocab_size": 200, "lowercase": False, "tokenized": True}
    expected |= LATER_SETTINGS
    for split, size in SIZES.items():
        expected[f"lines_{split}"] = size
        for code in ("de", "en"):
            content = (pristine_corpus / f"{split}.{code}").read_bytes()
            expected[f"sha256_{split}_{code}"] = hashlib.sha256(content).hexdigest()
    versions = {key: value for key, value in settings.items() if key.startswith("version_")}
    assert settings == expected | versions
    assert set(versions) == {
        f"version_{name}" for name in ("sacremoses", "subword_nmt", "sentencepiece", "fairseq")
    }
    assert all(value[0].isdigit() for value in versions.values())


def test_raw_held_out_text_is_kept_as_it_was(prepared_bpe, prepared_spm, pristine_corpus):
    for data, sides in ((prepared_bpe, ("de", "en")), (prepared_spm, ("en", "de"))):
        assert names(data / "raw") == {"valid.src", "valid.tgt", "test.src", "test.tgt"}
        for split in ("valid", "test"):
            for side, code in zip(("src", "tgt"), sides, strict=True):
                kept = (data / "raw" / f"{split}.{side}").read_bytes()
                assert kept == (pristine_corpus / f"{split}.{code}").read_bytes()


@pytest.mark.parametrize("code", ["de", "en"])
def test_bpe_tokens_turn_back_into_the_text(prepared_bpe, pristine_corpus, code):
    detokenizer = MosesDetokenizer(lang=code)
    tokens = binarised(prepared_bpe, "train", code)
    assert any("@@" in line for line in tokens)
    words = [f"{line} ".replace("@@ ", "").split() for line in tokens]
    assert [detokenizer.detokenize(line) for line in words] == lines(
        pristine_corpus / f"train.{code}"
    )


@pytest.mark.parametrize("code", ["de", "en"])
def test_sentencepiece_tokens_turn_back_into_lowercased_text(prepared_spm, pristine_corpus, code):
    assert {"spm.model", "spm.vocab"} <= names(prepared_spm)
    pieces = binarised(prepared_spm, "train", code)
    texts = [line.replace(" ", "").replace("\u2581", " ").strip() for line in pieces]
    assert texts == [line.lower() for line in lines(pristine_corpus / f"train.{code}")]
    settings = json.loads((prepared_spm / "prep.json").read_text(encoding="utf-8"))
    assert (settings["source"], settings["target"]) == ("en", "de")
    assert settings["tokenized"] is False
    assert settings["lowercase"] is True


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("kind", ["bpe", "spm"])
def test_new_text_is_encoded_as_the_data_was(request, kind, side):
    data = request.getfixturevalue(f"prepared_{kind}")
    settings = json.loads((data / "prep.json").read_text(encoding="utf-8"))
    encode = load_encoder(data, side)
    raw = lines(data / "raw" / f"test.{'src' if side == 'source' else 'tgt'}")
    dictionary = Dictionary.load(str(data / f"dict.{settings[side]}.txt"))
    encoded = [
        dictionary.string(dictionary.encode_line(encode(line), add_if_not_exist=False))
        for line in raw
    ]
    assert encoded == binarised(data, "test", settings[side])


@pytest.mark.usefixtures("without_fairseq")
@pytest.mark.parametrize(("kind", "model"), [("bpe", "codes.bpe"), ("sentencepiece", "spm.model")])
def test_subwords_are_the_same_every_time_and_in_both_directions(corpus, tmp_path, kind, model):
    directions = [("de", "en"), ("de", "en"), ("en", "de")]
    models = []
    for number, (source, target) in enumerate(directions):
        out = tmp_path / str(number)
        more = ("--subword", kind, "--source", source, "--target", target)
        prepare_text.main(prepare_argv(corpus, out, *more))
        models.append((out / model).read_bytes())
    assert models[0] == models[1] == models[2]


@pytest.mark.usefixtures("without_fairseq")
def test_strange_line_ends_do_not_shift_the_data(corpus, tmp_path):
    path = corpus / "test.en"
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + "\u2028and\x85so\ron\n".encode() + rest)
    prepare_text.main(prepare_argv(corpus, tmp_path / "out"))
    kept = (tmp_path / "out" / "raw" / "test.tgt").read_text(encoding="utf-8")
    assert kept.splitlines() == [f"{first.decode()} and so on", *rest.decode().splitlines()]


@pytest.mark.usefixtures("without_fairseq")
def test_text_that_is_tokenised_already_is_left_alone(corpus, tmp_path):
    prepare_text.main(prepare_argv(corpus, tmp_path / "out", "--no-tokenize"))
    encode = load_encoder(tmp_path / "out")
    for line in ("Der Hund.", "er : ja ( nein ) ; 5 % davon .", "« so »"):
        assert f"{encode(line)} ".replace("@@ ", "").split() == line.split()


# Lines in which nothing can be seen


KINDS = pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])


@pytest.mark.usefixtures("without_fairseq")
@KINDS
def test_training_pairs_that_show_nothing_are_left_out(corpus, tmp_path, capsys, kind):
    shutil.copytree(corpus, tmp_path / "clean")
    odd = dict(enumerate(ODD.values(), start=7))
    for code in ("de", "en"):
        path = tmp_path / "clean" / f"train.{code}"
        kept = [line for i, line in enumerate(lines(path), start=1) if i not in odd]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    prepare_text.main(prepare_argv(tmp_path / "clean", tmp_path / "expected", "--subword", kind))
    # Half of them have the other half of their pair.
    put_lines(corpus / "train.de", odd)
    put_lines(corpus / "train.en", {number: odd[number] for number in list(odd)[:3]})
    capsys.readouterr()
    prepare_text.main(prepare_argv(corpus, tmp_path / "out", "--subword", kind))
    said = capsys.readouterr().out
    assert (
        f"kept {SIZES['train'] - len(odd)} of {SIZES['train']} pairs (left out: 14 empty)" in said
    )
    assert f"{corpus}/train.de, line 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 and 4 more; " in said
    assert f"{corpus}/train.en, line 7, 8, 9\n" in said
    model = {"bpe": "codes.bpe", "sentencepiece": "spm.model"}[kind]
    assert (tmp_path / "out" / model).read_bytes() == (tmp_path / "expected" / model).read_bytes()


@KINDS
def test_held_out_lines_that_show_nothing_stay_in_their_place(corpus, tmp_path, capsys, kind):
    odd = dict(enumerate(ODD.values(), start=3))
    put_lines(corpus / "test.de", odd)
    put_lines(corpus / "test.en", {1: "\ufffd\u2581"})
    put_lines(corpus / "valid.en", {20: "\u200b"})
    out = tmp_path / "out"
    prepare_text.main(prepare_argv(corpus, out, "--subword", kind))
    said = capsys.readouterr().out
    assert f"kept as blank lines, since nothing can be seen: {corpus}/valid.en, line 20\n" in said
    assert f"{corpus}/test.en, line 1; {corpus}/test.de, line 3, 4, 5" in said
    assert len(binarised(out, "train", "de")) == SIZES["train"]
    for split, code, blank in (("test", "de", {*odd}), ("test", "en", {1}), ("valid", "en", {20})):
        tokens = binarised(out, split, code)
        assert {i for i, line in enumerate(tokens, start=1) if not line} == blank
        raw = lines(out / f"raw/{split}.{'src' if code == 'de' else 'tgt'}")
        assert len(raw) == len(tokens) == SIZES[split]
        encode = load_encoder(out, "source" if code == "de" else "target")
        assert [len(encode(line).split()) for line in raw] == [len(line.split()) for line in tokens]
    scores = score_file(generated(out, tmp_path / "test.out"), out)
    assert scores["tokenised_bleu"].score == 100


@pytest.mark.usefixtures("without_fairseq")
@KINDS
def test_odd_characters_beside_others_do_no_harm(corpus, tmp_path, capsys, kind):
    odd = [line.strip() for line in ODD.values()] + [
        "</s>",
        "@@",
        "<pad>",
        "👨\u200d👩\u200d👧",
        "\u00a8",
    ]
    for name in ("train.de", "train.en", "test.en"):
        text = [f"Ein {mark} Hund{mark} {mark}läuft." for mark in odd]
        put_lines(corpus / name, dict(enumerate([*text, "\u00a8", "👨\u200d👩\u200d👧"], start=1)))
    prepare_text.main(prepare_argv(corpus, tmp_path / "out", "--subword", kind))
    assert "empty" not in capsys.readouterr().out
    encode = load_encoder(tmp_path / "out", "target")
    assert all(encode(line).strip() for line in lines(tmp_path / "out/raw/test.tgt"))


def test_a_training_text_that_shows_nothing_is_refused(refusal, corpus, tmp_path):
    (corpus / "train.de").write_text("\u200b\n" * SIZES["train"], encoding="utf-8")
    error = refusal(prepare_text, prepare_argv(corpus, tmp_path / "out"))
    assert "no pair is left for train" in error


# Refusals


@pytest.mark.parametrize(
    ("more", "fragment"),
    [
        (("--source", "en"), "both en"),
        (("--source", "de-at"), "plain language code"),
        (("--vocab-size", "0"), "whole number above 0"),
        (("--vocab-size", "many"), "whole number above 0"),
        (("--subword", "words"), "invalid choice"),
        (("--expect-lines", "dev=3"), "train=29000"),
        (("--force",), "unrecognized arguments: --force"),
    ],
)
def test_bad_options_are_refused(refusal, corpus, tmp_path, more, fragment):
    assert fragment in refusal(prepare_text, prepare_argv(corpus, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_expected_line_counts_are_checked(refusal, corpus, tmp_path):
    counts = ("--expect-lines", f"train={SIZES['train']},test={SIZES['test'] + 1}")
    error = refusal(prepare_text, prepare_argv(corpus, tmp_path / "out", *counts))
    assert f"test.de has {SIZES['test']} lines where {SIZES['test'] + 1} were expected" in error


def test_a_vocabulary_too_small_for_sentencepiece_is_refused(refusal, corpus, tmp_path):
    place = tmp_path / "place"
    more = ("--subword", "sentencepiece", "--vocab-size", "5")
    error = refusal(prepare_text, prepare_argv(corpus, place / "out", *more))
    assert "give another --vocab-size" in error
    assert names(place) == set()
