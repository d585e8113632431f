"""The schedule of temperature."""

from __future__ import annotations

import pytest

from dsp_fairseq.estimators import log_linear


def test_temperature_falls_log_linearly():
    assert log_linear(0, 0.1, 1e-8, 1000) == 0.1
    assert log_linear(1000, 0.1, 1e-8, 1000) == 1e-8
    assert log_linear(5000, 0.1, 1e-8, 1000) == 1e-8
    assert log_linear(500, 1.0, 1e-4, 1000) == pytest.approx(1e-2)
    assert log_linear(0, 0.1, 1e-8, 0) == 1e-8
