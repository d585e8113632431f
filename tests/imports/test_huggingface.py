"""Folders of Hugging Face's transformers: what is read, and one line for what is not there."""

from __future__ import annotations

import json
import sys

import pytest
from pretrained import VOCABULARY, config_of, tensors_of, write_pretrained

from dsp_fairseq.errors import PruningError
from dsp_fairseq.imports.huggingface import PretrainedFolder


@pytest.fixture
def folder(tmp_path):
    config = config_of("bert")
    return write_pretrained(tmp_path / "hf", config, tensors_of(config))


def _refusal(call) -> str:
    with pytest.raises(PruningError) as stop:
        call()
    assert "\n" not in str(stop.value)
    return str(stop.value)


def test_what_a_folder_holds(folder):
    read = PretrainedFolder.open(folder)
    assert read.number("hidden_size") == 32
    assert read.vocabulary() == list(VOCABULARY["bert"])
    names = read.tensors().keys()
    assert "encoder.layer.0.attention.self.query.weight" in names
    assert not any(name.startswith("bert.") for name in names)


def test_no_folder(folder):
    for path in (folder / "nothing", folder / "config.json"):
        assert "is not a folder" in _refusal(lambda path=path: PretrainedFolder.open(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), ("{", "is not JSON"), ("[]", "holds no object"), (b"\xff", "UTF-8")],
)
def test_no_configuration(folder, content, said):
    path = folder / "config.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in _refusal(lambda: PretrainedFolder.open(folder))


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((), "has no model.safetensors"),
        (("pytorch_model.bin",), "a pickle, which can run code"),
        (("model.safetensors.index.json",), "in several files"),
    ],
)
def test_no_weights(folder, there, said):
    (folder / "model.safetensors").unlink()
    for name in there:
        (folder / name).write_text("{}")
    assert said in _refusal(lambda: PretrainedFolder.open(folder))


def test_weights_that_are_cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert "cannot read" in _refusal(PretrainedFolder.open(folder).tensors)


def test_without_safetensors(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    said = _refusal(PretrainedFolder.open(folder).tensors)
    assert said.startswith("safetensors cannot be imported (")
    assert said.endswith("): pip install 'dsp-fairseq[nli]'")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no vocabulary: tokenizer.json or vocab.txt or vocab.json"),
        ({"a": 0, "b": 2}, "the numbers of its tokens leave gaps"),
        ({"a": "x"}, "holds no vocabulary"),
        ([1], "holds no vocabulary"),
    ],
)
def test_no_vocabulary(folder, content, said):
    (folder / "vocab.txt").unlink()
    if content is not None:
        (folder / "vocab.json").write_text(json.dumps(content))
    assert said in _refusal(PretrainedFolder.open(folder).vocabulary)
