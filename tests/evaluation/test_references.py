"""Whether an output's references are those of the data: line by line, in any script."""

from __future__ import annotations

import json
import re

import pytest
from fairseq.data import Dictionary
from prepared_text import TEXTS, generated
from sacremoses import MosesDetokenizer

from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation import references as module
from dsp_fairseq.evaluation.bleu import score_file
from dsp_fairseq.evaluation.generated import read_generated, read_output
from dsp_fairseq.evaluation.references import check_references, read_references
from dsp_text.subwords import join_subwords

KINDS = ("bpe", "sentencepiece")
LANGUAGES = sorted(TEXTS.keys() - {"en"})


def check(output, data, split="test"):
    return check_references(read_output(output), read_references(data, split))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_output_that_equals_the_reference_is_accepted(prepare, language, kind):
    output, data = prepare(language, "en", subword=kind)
    references = check(output, data)
    assert references.language == language
    assert references.lines[:3] == TEXTS[language]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["--remove-bpe", "--tokenizer moses"])
def test_other_forms_of_printing_are_accepted(prepare, kind, form):
    words, moses = join_subwords(kind), MosesDetokenizer(lang="en")
    forms = {
        "--remove-bpe": words,
        "--tokenizer moses": lambda x: moses.detokenize(words(x).split()),
    }
    output, data = prepare(form=forms[form], subword=kind)
    assert check(output, data).side == "target"


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_direction_has_its_own_references(prepare, tmp_path, kind):
    _, data = prepare(subword=kind)
    references = check(tmp_path / "reverse.out", data)
    assert (references.side, references.language) == ("source", "de")
    scores = score_file(tmp_path / "reverse.out", data)
    assert scores["tokenised_bleu"].score == 100
    assert scores["sacrebleu"].score == scores["sacrebleu"].ceiling or 100


def shift(lines, start):
    return [*lines[:start], *lines[start + 1 :], lines[start]]


@pytest.mark.parametrize("language", ["en", "uk", "th"])
def test_a_shifted_tail_is_refused_by_its_first_line(prepare, language):
    output, data = prepare(language)
    _, targets = read_generated(output)
    start = int(0.6 * len(targets))
    text = generated(shift(targets, start))
    output.write_text(text, encoding="utf-8")
    line = text.split("\n").index(f"T-{start}\t{targets[start + 1]}") + 1
    with pytest.raises(PruningError, match="not those of the test split") as refusal:
        check(output, data)
    assert f"line {line}, T-{start}, has" in refusal.value.message
    assert f"line {start + 1} of {data}/raw/test.tgt" in refusal.value.message


def test_shifted_raw_references_are_refused(prepare):
    output, data = prepare()
    path = data / "raw/test.tgt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(shift(lines, 14)) + "\n")
    with pytest.raises(PruningError, match="T-14, has"):
        check(output, data)


@pytest.mark.parametrize(("old", "new"), [("home", "house"), (" .", ""), ("T-3\tThe", "T-3\tthe")])
def test_a_single_difference_is_refused(prepare, old, new):
    output, data = prepare(form=join_subwords("bpe"))
    output.write_text(output.read_text().replace(old, new))
    with pytest.raises(PruningError, match="not those of the test split"):
        check(output, data)


def test_unknown_symbols_are_known_as_such(prepare):
    """Where a character of the references never came in training, fairseq prints <<unk>>."""
    output, data = prepare()
    path = data / "dict.en.txt"
    dictionary = path.read_text().splitlines()
    path.write_text("".join(f"{row}\n" for row in dictionary if not row.startswith(("r", "n"))))
    known = Dictionary.load(str(path))
    _, targets = read_generated(output)
    printed = [
        known.string(known.encode_line(line, add_if_not_exist=False), escape_unk=True)
        for line in targets
    ]
    assert sum("<<unk>>" in line for line in printed) > 5
    output.write_text(generated(printed))
    check(output, data)
    output.write_text(generated(printed).replace("<<unk>>", "<unk>"))
    check(output, data)
    path.write_text("".join(f"{row}\n" for row in dictionary))
    with pytest.raises(PruningError, match="not those of the test split"):
        check(output, data)


def test_a_blank_reference_stays_in_its_place(prepare):
    texts = {
        "de": ["Eins.", "Zwei.", "Drei."],
        "en": ["One and two and three.", "\u200b\ufeff", "Four."],
    }
    output, data = prepare(texts=texts)
    assert "\nT-1\t\n" in output.read_text()
    references = check(output, data)
    assert references.lines[:3] == ["One and two and three.", "", "Four."]
    assert score_file(output, data)["sacrebleu"].ceiling is None
    # Earlier preparations made unknown symbols of it.
    output.write_text(re.sub(r"(?m)^(T-\d+\t)$", r"\1<<unk>> <<unk>>", output.read_text()))
    check(output, data)


def test_text_of_other_library_versions_is_known_by_its_binarised_form(prepare, monkeypatch):
    """A tokeniser's next version may part words otherwise; what was trained on still counts."""
    output, data = prepare()
    _, targets = read_generated(output)
    targets[4] = targets[4].replace("“", '" ')
    targets[4] += " @-@"
    output.write_text(generated(targets))
    with pytest.raises(PruningError, match="T-4, has"):
        check(output, data)
    dictionary = Dictionary()
    ids = [dictionary.encode_line(line) for line in targets]
    dictionary.save(str(data / "dict.en.txt"))
    (data / "test.de-en.en.idx").touch()
    monkeypatch.setattr(
        "dsp_fairseq.evaluation.references.load_indexed_dataset", lambda path, _: ids
    )
    with pytest.raises(PruningError, match="T-4, has"):
        check(output, data)
    prep = json.loads((data / "prep.json").read_text())
    (data / "prep.json").write_text(json.dumps({**prep, "version_sacremoses": "0.0.53"}))
    check(output, data)


def test_without_the_subword_model_words_are_compared(prepare):
    output, data = prepare()
    (data / "codes.bpe").unlink()
    check(output, data)
    output.write_text(output.read_text().replace("T-0\t", "T-0\tx "))
    with pytest.raises(PruningError, match="not those of the test split"):
        check(output, data)


def test_sentences_that_are_missing_are_named(prepare):
    output, data = prepare()
    text = output.read_text()
    output.write_text(text.replace("-23\t", "-24\t"))
    with pytest.raises(PruningError, match=r"is incomplete: it has no T-23"):
        check(output, data)
    output.write_text(re.sub(r"(?m)^[A-Z]-23\t.*\n", "", text))
    with pytest.raises(PruningError, match=r"has 23 sentences, the test split of .* has 24"):
        check(output, data)


def test_the_nearest_references_are_found_all_the_same(prepare):
    output, data = prepare()
    output.write_text(output.read_text().replace("T-0\t", "T-0\tx "))
    references, differences = module._references_of(
        read_output(output), read_references(data, "test")
    )
    assert (references.side, differences) == ("target", [0])


def test_a_folder_that_was_not_prepared_is_refused(prepare, tmp_path):
    output, data = prepare()
    with pytest.raises(PruningError, match="is not a folder that data-prep/ made"):
        check(output, tmp_path)
    with pytest.raises(PruningError, match="is not a folder that data-prep/ made"):
        check(output, data, "valid")
    (data / "prep.json").write_text('{"target": "en"}')
    with pytest.raises(PruningError, match=r"prep.json is damaged \('subword'\)"):
        check(output, data)
