"""dsp-score: from generate output to BLEU."""

from __future__ import annotations

import json

import pytest

from dsp_fairseq.cli import score as score_command
from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.bleu import join_subwords, read_generated, score_file


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


def test_a_perfect_translation_scores_100_both_ways(files):
    scores = score_file(*files())
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


def test_subwords_are_joined():
    assert join_subwords("bpe")("a lo@@ ng wo@@ rd") == "a long word"
    assert join_subwords("sentencepiece")("\u2581a \u2581lo ng \u2581word") == "a long word"
    assert join_subwords("sentencepiece")("a long word") == "a long word"


def test_sentences_come_in_the_order_of_the_data(files):
    hypotheses, references = read_generated(files()[0])
    assert hypotheses[0].startswith("A man")
    assert references[1].startswith("He")
    assert len(hypotheses) == 2


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
    assert json.loads(capsys.readouterr().out)["sacrebleu"]["score"] == 100.0
