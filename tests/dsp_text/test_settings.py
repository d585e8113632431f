"""prep.json, and the road of new text that it describes."""

from __future__ import annotations

import json

import pytest

from dsp_text.errors import TextError
from dsp_text.settings import LATER_SETTINGS, load_encoder, read_settings
from dsp_text.subwords import learn_subwords

SETTINGS = {"source": "de", "target": "en", "subword": "bpe", "tokenized": True, "lowercase": True}


@pytest.fixture
def folder(tmp_path):
    learn_subwords("bpe", ["das ist das", "that is that"] * 3, 12, tmp_path)
    (tmp_path / "prep.json").write_text(json.dumps(SETTINGS))
    return tmp_path


def test_what_came_later_has_its_old_value(folder):
    assert read_settings(folder) == LATER_SETTINGS | SETTINGS


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\ufffd"])
def test_a_blank_line_stays_one(folder, text):
    assert load_encoder(folder)(text) == ""


def test_a_side_has_its_language(folder):
    words = [load_encoder(folder, side)("Isn't") for side in ("source", "target")]
    assert [f"{tokens} ".replace("@@ ", "") for tokens in words] == ["isn ' t ", "isn 't "]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not of format version 1"),
        ('{"format_version": 2}', "not of format version 1"),
        ('{"format_version": 1, "source": "de"}', "lacks 'tokenized'"),
    ],
)
def test_what_is_no_prep_json_is_refused(tmp_path, content, message):
    (tmp_path / "prep.json").write_text(content)
    with pytest.raises(TextError, match=message):
        load_encoder(tmp_path)


def test_a_folder_that_was_not_prepared_is_refused(tmp_path):
    with pytest.raises(TextError, match=r"holds no prep\.json; give a folder made by"):
        read_settings(tmp_path / "no")
