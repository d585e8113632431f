"""Imported encoders compute what they did; what has no place is refused or named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from pretrained import (
    LABELS,
    VOCABULARY,
    class_logits,
    config_of,
    hidden_states,
    tensors_of,
    write_pretrained,
)
from saved_models import read_head_map
from tiny_data import write_pairs

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.cli.import_bert import render
from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.imports.bert import HEAD, import_bert
from dsp_fairseq.models.roberta import DspRobertaModel

KINDS = ("bert", "roberta")
NAMED = {"id2label": {str(number): label for number, label in enumerate(LABELS)}}


@pytest.fixture
def folder(tmp_path):
    """Writes a model of Hugging Face's."""

    def make(kind: str, classes: int = 3, **more) -> tuple[Path, dict, dict]:
        config = config_of(kind, **(NAMED if classes == 3 else {}), **more)
        tensors = tensors_of(config, classes)
        return write_pretrained(tmp_path / kind, config, tensors), config, tensors

    return make


def _load(path: Path, folder: Path):
    """The model and its task, as every command loads them."""
    words = path.with_suffix(".dict.txt").read_text().split(" 1\n")[:-1]
    data = write_pairs(folder / "data", words=words)
    overrides = {"data": str(data), "num_classes": 3}
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], overrides)
    return model.eval(), task


def _inputs(kind: str, dictionary, pair: bool):
    """A sentence or a pair: our numbers of its tokens, theirs, and their types."""
    start, _, end = (VOCABULARY["roberta"][:3], ("[CLS]", "", "[SEP]"))[kind == "bert"]
    first, second = list("cabd"), list("jie")
    theirs = [start, *first, end, *[*second, end] * pair]
    ours = ["<s>", *first, "</s>", *[*second, "</s>"] * pair]
    types = [0] * 6 + [1] * 4 * pair
    number = VOCABULARY[kind].index
    return (
        torch.tensor([[dictionary.index(token) for token in ours]]),
        torch.tensor([[number(token) for token in theirs]]),
        torch.tensor([types]) * (kind == "bert"),
    )


def _assert_hidden(model, tokens, expected):
    with torch.no_grad():
        hidden = model(tokens, features_only=True)[0]
    torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pair", [False, True], ids=["sentence", "pair"])
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_and_classes_are_those_of_the_model(folder, tmp_path, kind, pair):
    source, config, tensors = folder(kind)
    done = import_bert(source, tmp_path / "imported.pt")
    model, task = _load(done.output, tmp_path)
    ours, theirs, types = _inputs(kind, task.source_dictionary, pair)
    expected = hidden_states(config, tensors, theirs, types)
    _assert_hidden(model, ours, expected)
    with torch.no_grad():
        classes = model(ours, classification_head_name=HEAD)[0]
    torch.testing.assert_close(classes, class_logits(config, tensors, expected), atol=1e-5, rtol=0)
    assert done.labels == task.labels == list(LABELS)
    assert done.labels_file.read_text() == "".join(f"{label} 1\n" for label in LABELS)
    assert task.cfg.separator_token == (2 if kind == "roberta" else None)


@pytest.mark.parametrize("pad", [0, 5])
def test_positions_begin_behind_the_number_of_the_padding(folder, tmp_path, pad):
    """As RoBERTa counts them, whose padding has the number 1 by default."""
    more = {"pad_token_id": pad, "max_position_embeddings": 32 + pad + 1}
    source, config, tensors = folder("roberta", **more)
    done = import_bert(source, tmp_path / "imported.pt")
    assert done.args.max_positions == 32
    model, task = _load(done.output, tmp_path)
    ours, theirs, types = _inputs("roberta", task.source_dictionary, pair=True)
    _assert_hidden(model, ours, hidden_states(config, tensors, theirs, types))


def test_folded_token_types_are_those_of_a_single_sentence(folder, tmp_path):
    source, config, tensors = folder("bert")
    done = import_bert(source, tmp_path / "imported.pt", "fold")
    assert done.args.token_types == 0 and done.token_types.startswith("folded")
    model, task = _load(done.output, tmp_path)
    ours, theirs, types = _inputs("bert", task.source_dictionary, pair=True)
    _assert_hidden(model, ours, hidden_states(config, tensors, theirs, types * 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [0, 3])
def test_transformers_own_models(tmp_path, kind, classes):
    """Runs where Hugging Face's transformers is installed."""
    transformers = pytest.importorskip("transformers")
    name = {"bert": "Bert", "roberta": "Roberta"}[kind]
    config = config_of(
        kind, pad_token_id=VOCABULARY[kind].index("[PAD]" if kind == "bert" else "<pad>")
    )
    if classes:
        config |= NAMED
    made = getattr(transformers, f"{name}Config")(**config)
    suffix = "ForSequenceClassification" if classes else "Model"
    theirs = getattr(transformers, f"{name}{suffix}")(made).eval()
    write_pretrained(tmp_path / "hf", config, {})
    theirs.save_pretrained(tmp_path / "hf", safe_serialization=True)
    done = import_bert(tmp_path / "hf", tmp_path / "imported.pt")
    if not classes:
        with pytest.raises(CommandExit, match="has no classification head"):
            _load(done.output, tmp_path)
        return
    model, task = _load(done.output, tmp_path)
    tokens, own, types = _inputs(kind, task.source_dictionary, pair=True)
    with torch.no_grad():
        expected = theirs(input_ids=own, token_type_ids=types).logits
        found = model(tokens, classification_head_name=HEAD)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_checkpoint_that_the_tools_take_for_a_dense_one(folder, tmp_path):
    done = import_bert(folder("bert")[0], tmp_path / "imported.pt")
    kept = read_head_map(done.output)
    assert (kept.budget, kept.layout.num_heads) == (8, 8)
    stored = load_checkpoint(done.output)
    assert stored.args.layer_norm_eps == 1e-12
    assert stored.args.arch == "dsp_roberta_tiny"
    assert done.training_flags() == [
        "--arch dsp_roberta_tiny", "--layer-norm-eps 1e-12", "--token-types 2",
        "--max-positions 32",
    ]  # fmt: skip


def test_fairseqs_hub_interface_loads_an_import(folder, tmp_path):
    done = import_bert(folder("roberta")[0], tmp_path / "imported.pt")
    model, task = _load(done.output, tmp_path)
    hub = DspRobertaModel.from_pretrained(
        str(tmp_path), "imported.pt", str(tmp_path / "data"), bpe=None
    ).eval()
    tokens, _, _ = _inputs("roberta", task.source_dictionary, pair=True)
    with torch.no_grad():
        expected = model(tokens, classification_head_name=HEAD)[0]
        assert torch.equal(hub.predict(HEAD, tokens, return_logits=True), expected)


def test_a_shape_without_an_architecture_of_its_own(folder, tmp_path):
    source, _, _ = folder("roberta", intermediate_size=48, hidden_act="relu")
    flags = import_bert(source, tmp_path / "imported.pt").training_flags()
    assert flags[0] == "--arch dsp_roberta"
    assert {"--encoder-layers 2", "--encoder-ffn-embed-dim 48", "--activation-fn relu"} <= set(
        flags
    )


def test_names_of_older_versions_and_half_precision(folder, tmp_path):
    source, config, tensors = folder("bert")
    expected = import_bert(source, tmp_path / "new.pt").output
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value.double()
        for name, value in tensors.items()
    }
    write_pretrained(source, config, {**old, "bert.embeddings.position_ids": torch.arange(32)})
    done = import_bert(source, tmp_path / "old.pt")
    one, other = (load_checkpoint(path).weights for path in (expected, done.output))
    assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
    assert done.left_out == []


def test_the_head_for_masked_tokens(folder, tmp_path):
    source, config, tensors = folder("bert", classes=0)
    transform, bias = "cls.predictions.transform", torch.arange(15.0)
    more = {
        f"{transform}.dense.weight": torch.randn(32, 32),
        f"{transform}.dense.bias": torch.randn(32),
        f"{transform}.LayerNorm.weight": torch.randn(32),
        f"{transform}.LayerNorm.bias": torch.randn(32),
        "cls.predictions.bias": bias,
        "cls.seq_relationship.weight": torch.randn(2, 32),
    }
    write_pretrained(source, config, tensors | more)
    done = import_bert(source, tmp_path / "imported.pt")
    assert done.left_out == ["cls.seq_relationship.weight"]
    weights = load_checkpoint(done.output).weights
    assert torch.equal(weights["encoder.lm_head.dense.weight"], more[f"{transform}.dense.weight"])
    # [CLS] [PAD] [SEP] [UNK], the rest in order, [MASK]
    expected = [3, 0, 4, 2, 1, *range(6, 15), 5]
    assert weights["encoder.lm_head.bias"].tolist() == expected


def test_the_pooler_is_kept_for_a_new_classification_head(folder, tmp_path):
    source, _, tensors = folder("bert", classes=0)
    done = import_bert(source, tmp_path / "imported.pt")
    assert done.pooler and not done.labels and not done.labels_file.exists()
    weights = load_checkpoint(done.output).weights
    pooler = weights["classification_heads.pooler.dense.weight"]
    assert torch.equal(pooler, tensors["bert.pooler.dense.weight"])


def test_vocabularies_in_other_files(folder, tmp_path):
    source, _, _ = folder("bert")
    expected = import_bert(source, tmp_path / "one.pt").dictionary.read_text()
    (source / "vocab.txt").unlink()
    tokens = list(VOCABULARY["bert"])
    content = {
        "model": {"vocab": {token: number for number, token in enumerate(tokens[:-1])}},
        "added_tokens": [{"content": tokens[-1], "id": 14}, {"content": "[CLS]", "id": 3}],
    }
    (source / "tokenizer.json").write_text(json.dumps(content))
    assert import_bert(source, tmp_path / "two.pt").dictionary.read_text() == expected


# ---- what is refused


def _refusal(source: Path, output: Path, **more) -> str:
    before = sorted(output.parent.iterdir())
    with pytest.raises(PruningError) as stop:
        import_bert(source, output, **more)
    assert "\n" not in str(stop.value)
    assert sorted(output.parent.iterdir()) == before
    return str(stop.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "albert"}, "model_type 'albert' is none of bert, roberta"),
        ({"hidden_act": "silu"}, "hidden_act 'silu' is not supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"is_decoder": True}, "is_decoder True is not supported"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads {'0': [1]} is not supported"),
        ({"model_type": []}, "model_type [] is none of bert, roberta"),
        ({"layer_norm_eps": None}, "has no valid layer_norm_eps: None"),
        ({"hidden_dropout_prob": "0.1"}, "has no valid hidden_dropout_prob: '0.1'"),
        ({"attention_probs_dropout_prob": 7}, "has no valid attention_probs_dropout_prob: 7"),
        ({"id2label": ["a", "b", "c"]}, "id2label does not name 3 classes"),
        ({"hidden_size": "wide"}, "has no valid hidden_size: 'wide'"),
        ({"num_attention_heads": 5}, "5 heads cannot share a width of 32"),
        ({"num_hidden_layers": 3}, "lacks encoder.layer.2.attention.self.query.weight"),
        ({"num_hidden_layers": 1}, "has encoder.layer.1"),
        ({"intermediate_size": 32}, "does not fit config.json"),
        ({"id2label": {"0": "yes", "1": "no"}}, "id2label does not name 3 classes"),
        (
            {"architectures": ["BertForTokenClassification"]},
            "is that of BertForTokenClassification",
        ),
        ({"problem_type": "multi_label_classification"}, "problem_type multi_label_classification"),
    ],
)
def test_configurations_of_other_models(folder, tmp_path, change, said):
    source, config, _ = folder("bert")
    (source / "config.json").write_text(json.dumps({**config, **change}))
    assert said in _refusal(source, tmp_path / "imported.pt")


def test_a_padding_that_is_no_number(folder, tmp_path):
    source, config, _ = folder("roberta")
    (source / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    assert "has no valid pad_token_id: None" in _refusal(source, tmp_path / "imported.pt")


def test_vocabularies_of_other_models(folder, tmp_path):
    source, _, _ = folder("bert")
    path = source / "vocab.txt"
    words = path.read_text()
    for text, said in (
        (words.replace("[SEP]", "[END]"), "lacks [SEP]"),
        (words + "k\n", "has 16 tokens, and its model 15"),
        (words.replace("b\n", "<unk>\n"), "tokens that fairseq cannot hold"),
    ):
        path.write_text(text)
        assert said in _refusal(source, tmp_path / "imported.pt")


@pytest.mark.parametrize("types", [2, 3])
@pytest.mark.parametrize("token_types", ["keep", "fold"])
def test_a_roberta_gives_all_tokens_its_first_type(folder, tmp_path, types, token_types):
    """Whatever its table of types has besides: so does its tokenizer."""
    source, config, tensors = folder("roberta", type_vocab_size=types)
    done = import_bert(source, tmp_path / "imported.pt", token_types)
    assert done.args.token_types == 0 and "to all tokens" in done.token_types
    model, task = _load(done.output, tmp_path)
    ours, theirs, zeros = _inputs("roberta", task.source_dictionary, pair=True)
    _assert_hidden(model, ours, hidden_states(config, tensors, theirs, zeros))


@pytest.mark.parametrize("token_types", ["keep", "fold"])
@pytest.mark.parametrize("kind", KINDS)
def test_separators_are_those_of_the_architecture(folder, tmp_path, kind, token_types):
    done = import_bert(folder(kind)[0], tmp_path / "imported.pt", token_types)
    assert ("--separator-token 2" in render(done)) == (kind == "roberta")


def test_more_than_two_token_types(tmp_path):
    config = config_of("bert", type_vocab_size=16)
    source = write_pretrained(tmp_path / "hf", config, tensors_of(config))
    said = _refusal(source, tmp_path / "imported.pt")
    assert "has 16 token types" in said and "--token-types fold" in said
    assert import_bert(source, tmp_path / "imported.pt", "fold").args.token_types == 0


def test_weights_that_are_not_finite(folder, tmp_path):
    source, config, tensors = folder("bert")
    tensors["bert.pooler.dense.bias"][0] = float("nan")
    write_pretrained(source, config, tensors)
    assert "not finite, in pooler.dense.bias" in _refusal(source, tmp_path / "imported.pt")


@pytest.mark.parametrize("name", ["imported.pt", "imported.dict.txt", "imported.labels.txt"])
def test_nothing_is_overwritten(folder, tmp_path, name):
    source, _, _ = folder("bert")
    (tmp_path / name).write_text("mine")
    assert f"{name} exists" in _refusal(source, tmp_path / "imported.pt")
    assert (tmp_path / name).read_text() == "mine"
