"""Paired tests between outputs of fairseq-generate."""

from __future__ import annotations

import pytest

from dsp_fairseq.evaluation.paired import Output
from dsp_fairseq.evaluation.randomisation import Texts

WORDS = [f"word{number}" for number in range(20)]


@pytest.fixture
def outputs(tmp_path):
    """A good translation, one of no right word, one of another test set, and none."""

    def write(name, reference, hypothesis):
        lines = [f"T-{i}\t{reference(i)}\nH-{i}\t-0.5\t{hypothesis(i)}\n" for i in range(12)]
        (tmp_path / name).write_text("".join(lines))
        return Output(tmp_path / name, "BLEU|tok:13a")

    def sentence(i):
        return " ".join(WORDS[i : i + 5])

    return {
        "good": write("good", sentence, sentence),
        "twin": write("twin", sentence, sentence),
        "bad": write("bad", sentence, lambda i: "x y z"),
        "other": write("other", lambda i: "another one", sentence),
        "gone": Output(tmp_path / "gone", ""),
    }


def test_what_is_of_one_test_set_is_compared(outputs):
    tests = Texts(outputs, None)
    found = tests.compare("good", ["twin", "bad", "other", "gone"])
    assert found.keys() == {"twin", "bad"}
    assert (found["twin"].difference, found["twin"].p_value) == (0.0, 1.0)
    assert found["bad"].difference < -90 and found["bad"].significant
    assert "tok:none" in found["bad"].signature
    assert tests.compare("gone", ["bad"]) == {}


def test_without_plain_text_the_tests_are_not_on_what_was_scored(outputs):
    tests = Texts(outputs, None)
    assert not tests.on_scores
    assert "tokenised text, since the data is not there as it was" in tests.method


REFERENCES = [" ".join(WORDS[i % 9 : i % 9 + 6]) for i in range(40)]
WORSE = [line.replace("word", "w", 1) for line in REFERENCES]


@pytest.fixture
def compare(tmp_path):
    """Compares two translations of :data:`REFERENCES`."""

    def write(name, hypotheses):
        pairs = zip(REFERENCES, hypotheses, strict=True)
        lines = [f"T-{i}\t{a}\nH-{i}\t-0.5\t{b}\n" for i, (a, b) in enumerate(pairs)]
        (tmp_path / name).write_text("".join(lines))
        return Output(tmp_path / name, "")

    def run(one, other):
        outputs = {"a": write("a", one), "b": write("b", other)}
        return Texts(outputs, None).compare("a", ["b"])["b"]

    return run


@pytest.mark.parametrize(("differ", "least"), [(0, 1.0), (1, 1.0), (2, 0.5), (5, 0.0625)])
def test_few_sentences_that_differ_say_little(compare, differ, least):
    """Of m sentences, exchanges make 2 ** m outputs, of which two are as far apart as the given."""
    found = compare(WORSE, [*REFERENCES[:differ], *WORSE[differ:]])
    assert found.p_value == pytest.approx(least, abs=1e-9)
    assert not found.significant


@pytest.mark.parametrize("better", [0, 1, 2])
def test_another_wrong_word_is_no_difference(compare, better):
    """In 40 sentences the words differ; in the counts of BLEU at most two."""
    others = [line.replace("w", "v", 1) for line in WORSE]
    assert not set(others) & set(WORSE)
    found = compare(WORSE, [*REFERENCES[:better], *others[better:]])
    assert found.p_value == pytest.approx(min(1, 2.0 ** (1 - better)), abs=1e-9)


def test_two_scores_of_nothing_are_equally_good(compare):
    found = compare(["x"] * 40, [f"y{i}" for i in range(40)])
    assert (found.difference, found.p_value) == (0.0, 1.0)
