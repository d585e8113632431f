"""Whether two models translate alike, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_fairseq.evaluation.predictions import Predictions
from dsp_fairseq.export.parity import (
    TIE,
    Hypothesis,
    Translations,
    agree,
    direction_of,
    same_classes,
)


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


def _predictions(*rows: tuple[float, float]) -> Predictions:
    return Predictions(("yes", "no"), None, [("yes", "no")[a < b] for a, b in rows], [*rows])


def test_equal_classes_are_counted_and_probabilities_compared():
    one, other = _predictions((0.6, 0.4), (0.51, 0.49)), _predictions((0.7, 0.3), (0.49, 0.51))
    assert str(same_classes(one, other)) == (
        "check        1 of 2 predictions are the same; probabilities differ by 1.0e-01 at most"
    )
    assert same_classes(one, one).difference == 0


def test_inputs_that_one_side_lacks_are_no_agreement():
    with pytest.raises(ValueError, match="zip"):
        same_classes(_predictions((0.6, 0.4)), _predictions())
