import pytest

from dsp_fairseq.evaluation.paired import Paired


@pytest.mark.parametrize(("p", "significant"), [(0.049, True), (0.05, False), (1.0, False)])
def test_a_difference_is_significant_below_five_percent(p, significant):
    assert Paired(1.0, p, "BLEU|x").significant is significant
