"""What transformers loads computes what the checkpoint does; what it cannot be is refused."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from pretrained import LABELS, VOCABULARY, WORDS, config_of, tensors_of, write_pretrained
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_data import write_pairs

from dsp_fairseq.errors import PruningError
from dsp_fairseq.export.export import export_checkpoint
from dsp_fairseq.export.exporter import FormatOptions
from dsp_fairseq.imports.bert import import_bert
from dsp_fairseq.imports.huggingface import PretrainedFolder
from dsp_fairseq.imports.names import HEAD

NAMED = {"id2label": dict(enumerate(LABELS))}
MODELS = {
    "bert": ("bert", "keep", {}),
    "bert, one type": ("bert", "fold", {"layer_norm_eps": 1e-6}),
    "roberta": ("roberta", "keep", {}),
    "roberta, other padding": (
        *("roberta", "keep"),
        {"pad_token_id": 14, "max_position_embeddings": 47, "hidden_act": "gelu_new"},
    ),
}
OTHER_ORDER = (*(token for token in VOCABULARY["roberta"] if token != "<pad>"), "<pad>")
KEPT = {
    "no head": [],
    "a layer without heads": [4, 7],
    "some of each": [0, 2, 5],
    "all heads": list(range(8)),
}
CASES = [
    *((model, "some of each") for model in MODELS),
    *(("bert", kept) for kept in KEPT if kept != "some of each"),
]


def _write_tokenizer(folder: Path, model: str) -> None:
    """Words of one letter, as a tokenizer of Hugging Face's; BERT's needs its vocabulary only."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    if MODELS[model][0] == "bert":
        return
    numbers = {token: number for number, token in enumerate(_vocabulary(model))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, numbers[token]) for token in ("<s>", "</s>")],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture
def original(tmp_path):
    """Writes a model of Hugging Face's and imports it, with some of its 8 heads kept."""

    def make(model: str, kept: str = "some of each") -> tuple[Path, Path]:
        kind, types, more = MODELS[model]
        config, words = config_of(kind, **NAMED, **more), _vocabulary(model)
        source = write_pretrained(tmp_path / "original", config, tensors_of(config, 3), words)
        _write_tokenizer(source, model)
        path = import_bert(source, tmp_path / "checkpoint.pt", types).output
        return source, _prune(path, KEPT[kept])

    return make


def _vocabulary(model: str) -> tuple[str, ...]:
    return OTHER_ORDER if "padding" in model else VOCABULARY[MODELS[model][0]]


def _prune(path: Path, heads: list[int]) -> Path:
    state = torch.load(path, weights_only=True)
    mask, budgets = torch.zeros(8), torch.zeros(9)
    mask[heads], budgets[len(heads)] = 1.0, 1.0
    gates = {"importance": mask * 2 - 1, "mask": mask, "budgets": budgets, "frozen": torch.ones(())}
    state["model"] |= {
        f"head_gates.{name}": value.reshape(state["model"][f"head_gates.{name}"].shape)
        for name, value in gates.items()
    }
    state["cfg"]["model"].num_of_heads = str(len(heads))
    torch.save(state, path)
    return path


def _load(path: Path, folder: Path):
    """The model and the task, with data of all its words."""
    words = (folder / "checkpoint.dict.txt").read_text().split(" 1\n")[:-1]
    data = write_pairs(folder / "data", words=words)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(path)], {"data": str(data)}
    )
    return model.eval(), task


@torch.no_grad()
def _logits(path: Path, folder: Path) -> torch.Tensor:
    model, task = _load(path, folder)
    dataset = task.load_dataset("test")
    sample = dataset.collater([dataset[i] for i in range(len(dataset))])
    return model(**sample["net_input"], classification_head_name=HEAD)[0]


def _export(path: Path, tokenizer: Path | None = None, remove_heads: bool = False, name="out"):
    output = path.parent / name
    options = FormatOptions(tokenizer=tokenizer, remove_heads=remove_heads)
    return output, export_checkpoint(path, output, "huggingface", options=options)


@pytest.mark.parametrize(("model", "kept"), CASES)
def test_imported_again_it_is_the_same_model(original, tmp_path, model, kept):
    source, path = original(model, kept)
    output, _ = _export(path, source)
    again = import_bert(output, tmp_path / "again.pt")
    assert again.labels == list(LABELS) and again.left_out == []
    theirs, ours = (json.loads((folder / "config.json").read_text()) for folder in (source, output))
    for name in config_of("bert").keys() - {"type_vocab_size"}:
        assert ours[name] == theirs[name]
    expected = _logits(path, tmp_path)
    assert expected.std() > 0.01
    torch.testing.assert_close(_logits(again.output, tmp_path), expected, atol=1e-5, rtol=0)


def test_all_heads_are_the_original_model(original):
    source, path = original("bert", "all heads")
    weights = load_file(_export(path, source)[0] / "model.safetensors")
    expected = load_file(source / "model.safetensors")
    expected["bert.embeddings.word_embeddings.weight"][0] = 0.0  # that of padding
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


@pytest.mark.parametrize("kept", KEPT)
def test_removed_heads_are_the_zeros_of_the_other_form(original, monkeypatch, kept):
    monkeypatch.setattr(metadata, "version", lambda name: "4.57.6")
    source, path = original("bert", kept)
    whole, removed = _export(path, source)[0], _export(path, source, True, "removed")[0]
    ours = load_file(removed / "model.safetensors")
    gone = json.loads((removed / "config.json").read_text())["pruned_heads"]
    for name, value in load_file(whole / "model.safetensors").items():
        layer = name.split(".")[3] if ".attention." in name else ""
        if layer in gone and "LayerNorm" not in name and not name.endswith("output.dense.bias"):
            rows = value.t() if "output.dense" in name else value
            found = ours.pop(name)
            found = (found.t() if "output.dense" in name else found).unflatten(0, (-1, 8))
            rows = rows.unflatten(0, (4, 8))
            left = [head for head in range(4) if head not in gone[layer]]
            assert left and torch.equal(rows[left], found)
            assert not rows[gone[layer]].any()
        else:
            assert torch.equal(ours.pop(name), value)
    assert not ours
    heads = 8 - sum(map(len, gone.values()))
    assert heads == {"no head": 2, "a layer without heads": 3}.get(kept, len(KEPT[kept]))


def test_the_table_says_what_is_to_be_known(original, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "4.57.6")
    _, path = original("roberta", "a layer without heads")
    _, export = _export(path, None, True)
    tokenizer, removed, empty = export.notes
    assert tokenizer.startswith("tokenizer    none") and "--tokenizer FOLDER" in tokenizer
    assert removed == "removed      loads in transformers 4 only"
    assert "one head of zeros stays in encoder.self.0" in empty
    with safe_open(path.parent / "out/model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "dsp_signature": export.signature}


def test_the_files_of_the_tokenizer(original):
    source, path = original("bert")
    (source / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    (source / "README.md").write_text("of no use")
    output, export = _export(path, source)
    names = {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}
    assert {file.name for file in output.iterdir()} == names
    assert str(source) in export.notes[0] and len(export.notes) == 1
    # safetensors makes files that nobody else may read.
    assert len({file.stat().st_mode for file in output.iterdir()}) == 1
    bare, _ = _export(path, name="bare")
    assert {file.name for file in bare.iterdir()} == {"config.json", "model.safetensors"}


def test_without_a_tokenizer_tokens_have_fairseqs_numbers(original):
    _, path = original("bert")
    output, _ = _export(path)
    config = json.loads((output / "config.json").read_text())
    assert [config[f"{name}_token_id"] for name in ("bos", "pad", "eos")] == [0, 1, 2]
    words = load_file(output / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    stored = torch.load(path, weights_only=True)["model"]
    assert torch.equal(words, stored["encoder.sentence_encoder.embed_tokens.weight"])


# ---- with Hugging Face's transformers


@torch.no_grad()
def _their_logits(folder: Path, sentences: list[tuple[str, str]]) -> torch.Tensor:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert model.config.id2label == dict(enumerate(LABELS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    first, second = map(list, zip(*sentences, strict=True))
    return model(**tokenizer(first, second, padding=True, return_tensors="pt")).logits


def _text(path: Path, folder: Path) -> list[tuple[str, str]]:
    """The test split, as text."""
    _, task = _load(path, folder)
    words, dataset = task.source_dictionary, task.load_dataset("test")
    found = []
    for i in range(len(dataset)):
        tokens = [words[t] for t in dataset[i]["net_input.src_tokens"].tolist()]
        first, _, second = " ".join(tokens).partition(" </s> ")
        pair = (first.removeprefix("<s> "), second.removeprefix("</s> ").removesuffix(" </s>"))
        assert set(" ".join(pair).split()) <= set(WORDS)
        found.append(pair)
    return found


@pytest.mark.parametrize("remove", [False, True], ids=["zeros", "removed"])
@pytest.mark.parametrize(("model", "kept"), CASES)
def test_transformers_gives_the_same_classes_for_text(original, tmp_path, model, kept, remove):
    """Runs where Hugging Face's transformers is installed; removes heads where it can."""
    transformers = pytest.importorskip("transformers")
    if remove and not transformers.__version__.startswith("4."):
        pytest.skip("transformers 5 cannot load models without some of their heads")
    source, path = original(model, kept)
    output, _ = _export(path, source, remove)
    found, expected = _their_logits(output, _text(path, tmp_path)), _logits(path, tmp_path)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(found.argmax(1), expected.argmax(1))


def test_a_tokenizer_of_no_class_of_its_own_is_asked_for_token_types(original, tmp_path):
    source, path = original("bert")
    PretrainedFolder(source, {}).tokenizer().save(str(source / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    output, _ = _export(path, source)
    written = json.loads((output / "tokenizer_config.json").read_text())
    names = written.pop("model_input_names")
    assert (written, names) == (config, ["input_ids", "attention_mask", "token_type_ids"])
    theirs = _their_logits(output, _text(path, tmp_path))
    torch.testing.assert_close(theirs, _logits(path, tmp_path), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tokenizer", [True, False])
def test_the_check_compares_with_what_transformers_says(original, tmp_path, tokenizer):
    pytest.importorskip("transformers")
    source, path = original("bert")
    _load(path, tmp_path)
    options = FormatOptions(tokenizer=source if tokenizer else None)
    export = export_checkpoint(
        path, tmp_path / "out", "huggingface", options=options, check=tmp_path / "data"
    )
    found = export.agreement
    assert (found.inputs, found.equal) == (12, 12)
    assert found.difference < 1e-5


def test_a_check_without_transformers(original, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    _, path = original("bert")
    _load(path, tmp_path)
    with pytest.raises(PruningError, match=r"transformers cannot be .* pip install transformers"):
        export_checkpoint(path, tmp_path / "out", "huggingface", check=tmp_path / "data")
    assert not (tmp_path / "out").exists()


# ---- what is refused


def _refusal(path: Path, *options, **more) -> str:
    before = sorted(path.parent.iterdir())
    with pytest.raises(PruningError) as stop:
        _export(path, *options, **more)
    assert "\n" not in str(stop.value)
    assert sorted(path.parent.iterdir()) == before
    return str(stop.value)


@pytest.mark.parametrize("version", ["5.24.0", "6.0.dev0"])
def test_heads_are_not_removed_for_a_transformers_that_cannot_load_it(
    original, monkeypatch, version
):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    source, path = original("bert")
    said = _refusal(path, source, True)
    assert f"--remove-heads: transformers {version} cannot load" in said
    _export(path, source)


def test_heads_are_removed_where_no_transformers_is_installed(original, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    source, path = original("bert")
    assert "loads in transformers 4 only" in _export(path, source, True)[1].notes[1]


def test_translation_models(checkpoint):
    _, path = checkpoint(6)
    assert "holds classifiers of dsp_roberta, not dsp_transformer" in _refusal(path)


def test_a_checkpoint_without_a_classification_head(tmp_path):
    config = config_of("bert")
    source = write_pretrained(tmp_path / "original", config, tensors_of(config))
    path = import_bert(source, tmp_path / "checkpoint.pt").output
    assert "has no classification head" in _refusal(path, source)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder_normalize_before": True}, "no counterpart of --encoder-normalize-before True"),
        ({"pooler_activation_fn": "relu"}, "no counterpart of --pooler-activation-fn relu"),
        ({"activation_fn": "tanh"}, "no counterpart of --activation-fn tanh"),
    ],
)
def test_what_the_models_of_transformers_cannot_do(original, change, said):
    source, path = original("bert")
    _change(path, "model", **change)
    assert said in _refusal(path, source)


def test_tokenizers_of_other_models(original, tmp_path):
    source, path = original("bert")
    words = source / "vocab.txt"
    content = words.read_text()
    for text, said in (
        (content + "k\n", "has 16 tokens, and they are not the 15 of"),
        (content.replace("b\n", "q\n"), "has 15 tokens, and they are not the 15 of"),
        (content.replace("[SEP]", "[END]"), "lacks"),
    ):
        words.write_text(text)
        assert said in _refusal(path, source)
    words.unlink()
    assert "has no vocabulary" in _refusal(path, source)


def _change(path: Path, group: str, **values) -> None:
    state = torch.load(path, weights_only=True)
    node = state["cfg"][group]
    (node if isinstance(node, dict) else vars(node)).update(values)
    torch.save(state, path)


def test_a_tokenizer_without_the_token_types_of_the_model(original, tmp_path):
    source, path = original("roberta")
    _change(path, "model", token_types=2)
    assert "gives no token types, which this model has" in _refusal(path, source)


def test_a_vocabulary_without_its_merges_is_no_tokenizer(original):
    source, path = original("roberta")
    (source / "tokenizer.json").unlink()
    assert "has no tokenizer: tokenizer.json, vocab.txt, or vocab.json and" in _refusal(
        path, source
    )


def test_pairs_that_the_training_put_together_otherwise(original, caplog):
    source, path = original("roberta")
    _export(path, source)
    assert "puts" not in caplog.text
    _change(path, "task", separator_token=None)
    _export(path, source, name="other")
    assert "puts <s> </s> </s> </s> around and between the sentences of a pair" in caplog.text
    assert "the model was trained with <s> </s> </s> (--init-token" in caplog.text
