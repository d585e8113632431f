"""Tokenizers of pretrained models give the numbers of the imported dictionary."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from pretrained import LABELS, VOCABULARY, config_of, tensors_of, write_pretrained
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.errors import PruningError
from dsp_fairseq.imports.bert import import_bert
from dsp_fairseq.imports.huggingface import PretrainedFolder
from dsp_fairseq.imports.tokenizer import PretrainedTokenizer

NAMED = {"id2label": {str(number): label for number, label in enumerate(LABELS)}}


@pytest.fixture
def bert(tmp_path):
    config = config_of("bert", **NAMED)
    return write_pretrained(tmp_path / "bert", config, tensors_of(config, 3))


@pytest.fixture
def roberta(tmp_path):
    """A model with the byte-level tokenizer of its single letters and of two merges."""
    config = config_of("roberta", vocab_size=len(VOCABULARY["roberta"]) + 3)
    folder = write_pretrained(tmp_path / "roberta", config, tensors_of(config))
    tokens = [*VOCABULARY["roberta"], "Ġ", "ab", "Ġab"]
    numbers = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    (folder / "merges.txt").write_text("#version: 0.2\na b\nĠ ab\n", encoding="utf-8")
    return folder


def _whole(folder, vocabulary: dict[str, int]) -> None:
    """Writes a tokenizer.json, which cuts and pads what it reads."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[SEP]"])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))


def test_numbers_are_those_of_the_imported_dictionary(bert, tmp_path):
    read, imported = PretrainedTokenizer.open(bert), import_bert(bert, tmp_path / "imported.pt")
    assert imported.dictionary.read_text() == "".join(f"{word} 1\n" for word in read.tokens[4:-1])
    assert (read.labels, read.max_positions, read.separators) == (list(LABELS), 32, 1)
    assert read.encode(["A b!", "", "zz a"]) == [[4, 5, 3], [], [3, 4]]


def test_byte_level_bpe(roberta):
    read = PretrainedTokenizer.open(roberta)
    named = [[read.tokens[number] for number in line] for line in read.encode(["ab ab", "cab"])]
    assert named == [["ab", "Ġab"], ["c", "ab"]]
    assert read.tokens[:4] == ["<s>", "<pad>", "</s>", "<unk>"] and read.tokens[-1] == "<mask>"
    assert (read.labels, read.max_positions, read.separators) == ([], 32, 2)


def test_a_file_does_not_say_how_long_inputs_are_or_where_they_end(bert):
    _whole(bert, {token: number for number, token in enumerate(VOCABULARY["bert"])})
    read = PretrainedTokenizer.open(bert)
    unknown = read.tokens.index("[UNK]")
    assert read.encode(["a b c d e f", "a [SEP] b"]) == [
        [4, 5, 6, 7, 8, 9],
        [4, unknown, unknown, unknown, 5],
    ]


def test_case_is_what_the_configuration_says(bert):
    (bert / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert PretrainedTokenizer.open(bert).encode(["A a"]) == [[3, 4]]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"tokenizer.json": "{"}, "is not JSON"),
        ({"tokenizer_config.json": "{"}, "is not JSON"),
        ({"tokenizer_config.json": "[]"}, "cannot be read"),
        ({"vocab.txt": None, "vocab.json": "{}"}, "lacks [CLS]"),
    ],
)
def test_a_bad_tokenizer_is_refused(bert, files, said):
    for name, content in files.items():
        (bert / name).unlink(missing_ok=True)
        if content is not None:
            (bert / name).write_text(content)
    with pytest.raises(PruningError) as stop:
        PretrainedTokenizer.open(bert)
    assert said in str(stop.value) and "\n" not in str(stop.value)


def test_the_tokenizer_of_another_model_is_refused(bert):
    _whole(bert, {"[UNK]": 0, "[SEP]": 1, "a": 2})
    with pytest.raises(PruningError, match=r"tokenizer\.json and vocab\.txt are of different"):
        PretrainedTokenizer.open(bert)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_tokens_that_were_added_to_a_model_are_one_in_a_text(bert, tmp_path, special, older):
    """Files of older versions (vocab.txt) do not have them."""
    tokenizer = PretrainedFolder.open(bert).tokenizer()
    tokenizer.add_tokens([AddedToken("[E1]", special=special), AddedToken("[/E1]")])
    tokenizer.save(str(bert / "tokenizer.json"))
    config = config_of("bert", vocab_size=20)
    tensors = tensors_of(config)
    write_pretrained(bert, config, tensors)
    if not older:
        (bert / "vocab.txt").unlink()
    read, done = PretrainedTokenizer.open(bert), import_bert(bert, tmp_path / "imported.pt")
    names = [read.tokens[number] for number in read.encode(["[E1] a b[/E1] [SEP]"])[0]]
    assert names == ["[E1]", "a", "b", "[/E1]", *["[UNK]"] * 3]
    assert done.left_out[0] == "the last 3 rows of embeddings.word_embeddings.weight, of no token"
    number = done.dictionary.read_text().split(" 1\n").index("[E1]") + 4
    weights = load_checkpoint(done.output).weights
    ours = weights["encoder.sentence_encoder.embed_tokens.weight"][number]
    theirs = tensors["bert.embeddings.word_embeddings.weight"][tokenizer.token_to_id("[E1]")]
    assert torch.equal(ours, theirs)


def test_no_merges(roberta):
    (roberta / "merges.txt").unlink()
    with pytest.raises(PruningError, match=r"has no tokenizer: tokenizer\.json, vocab\.txt, or"):
        PretrainedTokenizer.open(roberta)


def test_without_tokenizers(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    said = r"tokenizers cannot be imported \(.*\): pip install 'dsp-fairseq\[nli\]'"
    with pytest.raises(PruningError, match=said):
        PretrainedTokenizer.open(bert)


def test_a_tokenizer_without_a_file_of_its_own_puts_pairs_together_as_robertas_do(roberta):
    tokenizer = PretrainedTokenizer.open(roberta).tokenizer
    pair = tokenizer.encode("a b", "ab")
    ends = [token for token in pair.tokens if token in ("<s>", "</s>")]
    assert ends == ["<s>", "</s>", "</s>", "</s>"]
    assert set(pair.type_ids) == {0}
    assert tokenizer.encode("a b", add_special_tokens=False).tokens[0] != "<s>"
