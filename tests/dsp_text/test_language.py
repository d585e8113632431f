"""Language codes."""

from __future__ import annotations

import pytest

from dsp_text.language import without_region


@pytest.mark.parametrize(
    ("code", "language"), [("fr", "fr"), ("fr_FR", "fr"), ("ZH_cn", "zh"), ("fra", "fra")]
)
def test_a_region_is_taken_away(code, language):
    assert without_region(code) == language
