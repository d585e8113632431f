"""dsp-score: from generate output to BLEU."""

from __future__ import annotations

import json
import re

import pytest

from dsp_fairseq.cli import score as score_command
from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.bleu import bleu_metric, score_file, tokenizer_for


@pytest.fixture
def files(tmp_path):
    """A prepared folder with two test sentences, and an output that translates them perfectly."""

    def make(output=None, **prep):
        data = tmp_path / "data"
        (data / "raw").mkdir(parents=True, exist_ok=True)
        settings = {"subword": "bpe", "tokenized": True, "lowercase": False, "target": "en"}
        (data / "prep.json").write_text(json.dumps({**settings, **prep}))
        (data / "raw/test.tgt").write_text("A man, two dogs and a car.\nHe doesn't see them now.\n")
        generated = tmp_path / "test.out"
        generated.write_text(
            output
            or "S-1\tx\nT-1\tHe doesn 't see them now .\nH-1\t-0.5\tHe doesn 't se@@ e them now .\n"
            "D-1\t-0.5\tignored\nH-1\t-0.9\tsecond best\n"
            "T-0\tA man , two dogs and a car .\nH-0\t-0.1\tA man , two do@@ gs and a car .\n"
        )
        return generated, data

    return make


def test_a_perfect_translation_scores_100_both_ways(files, caplog):
    scores = score_file(*files())
    assert "is its reference: if --score-reference or --prefix-size made it" in caplog.text
    assert scores["sacrebleu"].score == 100.0
    assert scores["tokenised_bleu"].score == 100.0
    assert "tok:13a" in scores["sacrebleu"].signature
    assert "tok:none" in scores["tokenised_bleu"].signature


def test_lower_case_is_scored_as_such_and_signed(files):
    scores = score_file(
        *files(
            "T-0\ta man , two dogs and a car .\nH-0\t-1\ta man , two dogs and a car .\n"
            "T-1\the doesn 't see them now .\nH-1\t-1\the doesn 't see them now .\n",
            lowercase=True,
        )
    )
    assert scores["sacrebleu"].score == 100.0
    assert "case:lc" in scores["sacrebleu"].signature


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nothing here\n", "holds no hypothesis"),
        ("T-0\ta\nH-0\t-1\ta\n", "has 1 sentences, the test split of .* has 2: fairseq-generate"),
        ("T-0\ta\nH-0\t-1\ta\nH-1\t-1\tb\n", "incomplete"),
    ],
)
def test_incomplete_outputs_are_refused(files, output, message):
    with pytest.raises(PruningError, match=message):
        score_file(*files(output))


def test_another_direction_is_refused(files):
    generated, data = files()
    (data / "raw/test.tgt").write_text("Ein Mann und ein Auto.\nEr sieht sie jetzt nicht.\n")
    with pytest.raises(PruningError, match="are not those of the test split"):
        score_file(generated, data)


def test_foreign_folders_and_missing_files_are_refused(files, tmp_path):
    generated, data = files()
    with pytest.raises(PruningError, match="is not a folder that data-prep/ made"):
        score_file(generated, tmp_path)
    with pytest.raises(PruningError, match="cannot read"):
        score_file(tmp_path / "none.out", data)


def test_json(files, capsys):
    generated, data = files()
    score_command.main([str(generated), "--data", str(data), "--json"])
    scores = json.loads(capsys.readouterr().out)
    assert scores["sacrebleu"]["score"] == 100.0
    assert list(scores) == ["sacrebleu", "chrf", "tokenised_bleu"]
    assert all(score.keys() == {"score", "signature"} for score in scores.values())


# The ceiling: what the reference itself scores after the preparation and back.


def test_what_the_preparation_loses_is_said_beside_the_score(prepare, capsys):
    """Curly quotation marks become straight ones: no output scores 100."""
    output, data = prepare("en", "de")
    scores = score_file(output, data)
    for name in ("sacrebleu", "chrf"):
        assert 50 < scores[name].score == scores[name].ceiling < 100
        assert scores[name].record()["ceiling"] == scores[name].ceiling
    assert scores["tokenised_bleu"].ceiling is None
    score_command.main([str(output), "--data", str(data)])
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith(f"   ceiling {scores['sacrebleu'].ceiling:.2f}")
    assert second.endswith(f"   ceiling {scores['chrf'].ceiling:.2f}")
    assert "ceiling" not in third


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
@pytest.mark.parametrize("language", ["uk", "ar", "th", "hi", "ja"])
def test_output_that_equals_the_reference_scores_100(prepare, language, kind):
    output, data = prepare(language, "en", subword=kind)
    scores = score_file(output, data, tokenize="13a")
    # Without spaces a line is one word for this tokeniser, and BLEU is of four.
    names = ["chrf"] if language in ("th", "ja") else list(scores)
    assert {name: scores[name].score for name in names} == dict.fromkeys(names, 100)
    assert scores["chrf"].ceiling is None


def test_a_worse_output_has_the_same_ceiling(prepare):
    output, data = prepare("en", "de")
    best = score_file(output, data)
    output.write_text(re.sub(r"(?m)^(H-\d+\t\S+\t\S+) .*", r"\1 no no", output.read_text()))
    worse = score_file(output, data)
    assert worse["sacrebleu"].score < 20
    assert worse["sacrebleu"].ceiling == best["sacrebleu"].ceiling


# sacreBLEU's tokenisers


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("en", "13a"), ("uk", "13a"), ("zh", "zh"), ("zh_CN", "zh"), ("zho", "zh"), ("th", "char")],
)
def test_the_tokeniser_follows_the_target_language(prepare, language, tokenizer):
    output, data = prepare("zh" if language.startswith("zh") else language, "ja")
    assert tokenizer_for(language) == tokenizer
    assert f"|tok:{tokenizer}|" in score_file(output, data)["sacrebleu"].signature


@pytest.mark.parametrize("language", ["ja", "ko"])
def test_japanese_and_korean_are_of_words_where_that_can_be(monkeypatch, caplog, language):
    """sacreBLEU's tokenisers of both need more libraries; without them characters are words."""
    monkeypatch.setattr("dsp_fairseq.evaluation.bleu.BLEU", lambda tokenize: tokenize)
    assert tokenizer_for(language) == f"{language}-mecab"

    def fail(tokenize):
        raise RuntimeError("Please install the extra dependencies")

    monkeypatch.setattr("dsp_fairseq.evaluation.bleu.BLEU", fail)
    assert tokenizer_for(language) == "char"
    assert f"pip install 'sacrebleu[{language}]'" in caplog.text


@pytest.mark.parametrize("tokenizer", ["intl", "char", "none", "zh", "13a"])
def test_tokenisers_can_be_named(prepare, capsys, tokenizer):
    output, data = prepare()
    score_command.main([str(output), "--data", str(data), "--tokenize", tokenizer])
    printed = capsys.readouterr().out.splitlines()
    assert f"|tok:{tokenizer}|" in printed[0]
    assert "|tok:none|" in printed[2]


def test_a_signature_names_its_tokeniser():
    for name in ("BLEU|nrefs:1|tok:char|smooth:exp", "char"):
        metric = bleu_metric(name, lowercase=True)
        metric.corpus_score(["a b"], [["a b"]])
        assert "case:lc|eff:no|tok:char|" in str(metric.get_signature())


def test_a_tokeniser_that_needs_more_is_refused(monkeypatch):
    def fail(**options):
        raise RuntimeError("\nPlease install\n\n   more\n")

    monkeypatch.setattr("dsp_fairseq.evaluation.bleu.BLEU", fail)
    with pytest.raises(PruningError, match="tokeniser ja-mecab: Please install more"):
        bleu_metric("ja-mecab", False)
