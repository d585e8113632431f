"""Whether two models translate alike, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_fairseq.export.parity import TIE, Hypothesis, Translations, agree, direction_of


def _translations(*hypotheses, size=None, direction=None):
    size = len(hypotheses) if size is None else size
    sources = [[5, 2]] * len(hypotheses)
    return Translations(Path("data"), direction or {}, None, sources, [*hypotheses], size, 200)


A, B, C = Hypothesis((4, 2), -1.0), Hypothesis((5, 2), -1.0 - TIE / 2), Hypothesis((6, 2), -2.0)


def test_equal_hypotheses_and_ties_are_counted():
    assert str(agree(_translations(A, B), [A, B])) == "check        2 of 2 hypotheses are the same"
    assert str(agree(_translations(A, A, A), [A, B, C])) == (
        "check        1 of 3 hypotheses are the same; of 2 others 1 are ties in score"
    )


def test_sentences_that_were_left_out_are_said():
    found = str(agree(_translations(A, size=30), [A]))
    assert found.endswith("29 of 30 sentences are too long for the model and were left out")


def test_sentences_that_one_side_lacks_are_no_agreement():
    with pytest.raises(ValueError, match="zip"):
        agree(_translations(A, B), [A])


@pytest.mark.parametrize("pairs", ["de-en,en-de", ["de-en", "en-de"]])
def test_a_multilingual_model_has_a_direction_of_its_own(pairs):
    direction = {"source_lang": "de", "target_lang": "en"}
    assert direction_of({"lang_pairs": pairs}) == direction
    assert str(agree(_translations(A, direction=direction), [A])).endswith("; direction de-en")
    assert direction_of({"lang_pairs": pairs, "source_lang": "en"}) == {}
    assert direction_of({"source_lang": None}) == {}
