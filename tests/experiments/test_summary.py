"""The result of a run, from its files."""

from __future__ import annotations

import pytest

from dsp_fairseq.experiments.summary import generation_speed, valid_loss


@pytest.mark.parametrize(("metric", "expected"), [("loss", 4.5), ("bleu", None)])
def test_validation_loss_is_that_which_chose_the_checkpoint(metric, expected):
    chosen = {"checkpoint": {"best_checkpoint_metric": metric}}
    assert valid_loss({"cfg": chosen, "extra_state": {"val_loss": 4.5}}) == expected


def test_the_speed_of_generation_comes_from_its_log(tmp_path):
    (tmp_path / "test.log").write_text(
        "Translated 1,000 sentences (13,031 tokens) in 5.2s (192.12 sentences/s, 2505.96 tokens/s)"
    )
    assert generation_speed(tmp_path, "test") == (5.2, 2505.96)
