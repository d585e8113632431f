"""Subword models: what they split and how it is joined again."""

from __future__ import annotations

import pytest

from dsp_text.errors import TextError
from dsp_text.subwords import KINDS, join_subwords, learn_subwords, load_subwords

TEXT = ["the dog sees the ducks", "the duck sees the dogs", "a dog and a duck", "a sea of dogs"] * 5


def test_subwords_are_joined():
    assert join_subwords("bpe")("a lo@@ ng wo@@ rd") == "a long word"
    assert join_subwords("sentencepiece")("\u2581a \u2581lo ng \u2581word") == "a long word"
    assert join_subwords("sentencepiece")("a long word") == "a long word"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_splits_is_joined_again(kind, tmp_path):
    learn_subwords(kind, TEXT, 30, tmp_path)
    encode, join = load_subwords(kind, tmp_path), join_subwords(kind)
    tokens = [encode(line) for line in TEXT]
    assert max(line.count(" ") for line in tokens) > max(line.count(" ") for line in TEXT)
    assert [join(line) for line in tokens] == TEXT
    assert encode("") == join("") == ""


@pytest.mark.parametrize("kind", KINDS)
def test_too_little_text_is_refused(kind, tmp_path):
    with pytest.raises(TextError, match="give another --vocab-size or more text"):
        learn_subwords(kind, ["a"], 2, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", ["<s>", "<pad>", "</s>", "<unk>"])
def test_words_that_are_symbols_of_fairseqs_stay_words(kind, word, tmp_path):
    text = [f"{line} {word} x{word} end" for line in TEXT]
    learn_subwords(kind, text, 60, tmp_path)
    encode, join = load_subwords(kind, tmp_path), join_subwords(kind)
    assert word not in encode(text[0]).split()
    assert join(encode(text[0])) == text[0]


@pytest.mark.parametrize(
    ("languages", "comma"), [(("en", "zh_CN"), "，"), (("ja", "en"), "，"), (("en", "de"), ",")]
)
def test_full_width_punctuation_stays_in_chinese_and_japanese(languages, comma, tmp_path):
    learn_subwords(
        "sentencepiece", ["你好，你好", "再见，再见"] * 9, 20, tmp_path, languages=languages
    )
    tokens = load_subwords("sentencepiece", tmp_path)("你好，再见")
    assert join_subwords("sentencepiece")(tokens) == f"你好{comma}再见"
