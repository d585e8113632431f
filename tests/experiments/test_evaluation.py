"""The registry of evaluations."""

from __future__ import annotations

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.evaluation import EVALUATIONS, evaluation_of


def test_a_recipe_is_evaluated_by_its_task(recipe):
    assert evaluation_of(recipe()) is EVALUATIONS["translation"]
    with pytest.raises(PruningError, match="of --task masked_lm, and dsp-run can only evaluate"):
        evaluation_of(recipe().with_train({"task": "masked_lm"}))
    with pytest.raises(PruningError, match=r"or give the package .* by --user-dir$"):
        evaluation_of(recipe().with_train({"task": "masked_lm"}))


@pytest.mark.parametrize("evaluation", EVALUATIONS.values(), ids=EVALUATIONS.keys())
def test_models_are_compared_by_the_first_metric(evaluation):
    assert list(evaluation.metrics).index(evaluation.metric) == 0
    assert evaluation.title == evaluation.metrics[evaluation.metric]
    assert evaluation.file("test").startswith("test.")
