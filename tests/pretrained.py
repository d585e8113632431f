"""Tiny BERT and RoBERTa models as Hugging Face writes them, and what they compute."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

WORDS = tuple("abcdefghij")
VOCABULARY = {
    "bert": ("[PAD]", "a", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[1:]),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"),
}
LABELS = ("entailment", "neutral", "contradiction")


def config_of(kind: str, **more: Any) -> dict[str, Any]:
    """Two layers of four heads."""
    return {
        "model_type": kind,
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "max_position_embeddings": 32 + 2 * (kind == "roberta"),
        "type_vocab_size": 2 if kind == "bert" else 1,
        "vocab_size": len(VOCABULARY[kind]),
        "layer_norm_eps": 1e-12 if kind == "bert" else 1e-5,
        **more,
    }


def tensors_of(config: Mapping[str, Any], classes: int = 0) -> dict[str, Tensor]:
    """Random weights, by Hugging Face's names; with a classification head of some classes."""
    kind, width, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    tables = {
        "word_embeddings": config["vocab_size"],
        "position_embeddings": config["max_position_embeddings"],
        "token_type_embeddings": config["type_vocab_size"],
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"{kind}.embeddings.{name}.weight": (rows, width) for name, rows in tables.items()
    }
    layers = {f"{kind}.embeddings.LayerNorm": (width,)}
    for i in range(config["num_hidden_layers"]):
        prefix = f"{kind}.encoder.layer.{i}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            layers[f"{prefix}.attention.{name}"] = (width, width)
        layers[f"{prefix}.attention.output.LayerNorm"] = (width,)
        layers[f"{prefix}.intermediate.dense"] = (inner, width)
        layers[f"{prefix}.output.dense"] = (width, inner)
        layers[f"{prefix}.output.LayerNorm"] = (width,)
    if kind == "bert":
        layers["bert.pooler.dense"] = (width, width)
    if classes:
        dense = {"bert": "classifier", "roberta": "classifier.out_proj"}[kind]
        layers[dense] = (classes, width)
    if classes and kind == "roberta":
        layers["classifier.dense"] = (width, width)
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    draw = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=draw) * 0.3 for name, shape in shapes.items()}


def write_pretrained(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    vocabulary: Sequence[str] = (),
) -> Path:
    """Writes a folder as ``save_pretrained`` does, with the vocabulary of its kind or another."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(tensors), folder / "model.safetensors")
    tokens = vocabulary or VOCABULARY[config["model_type"]]
    if config["model_type"] == "bert":
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    else:
        numbers = {token: number for number, token in enumerate(tokens)}
        (folder / "vocab.json").write_text(json.dumps(numbers))
    return folder


def hidden_states(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], tokens: Tensor, types: Tensor
) -> Tensor:
    """What the encoder computes, by the formulas of Devlin et al. 2019.

    Args:
        config: of the model.
        tensors: its weights.
        tokens: ``[B, T]`` in its own numbers, without padding.
        types: ``[B, T]``.

    Returns:
        ``[B, T, C]``.
    """
    kind, heads, eps = config["model_type"], config["num_attention_heads"], config["layer_norm_eps"]
    width = config["hidden_size"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ tensors[f"{kind}.{name}.weight"].T + tensors[f"{kind}.{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        return x * tensors[f"{kind}.{name}.weight"] + tensors[f"{kind}.{name}.bias"]

    before = config.get("pad_token_id", 1) + 1 if kind == "roberta" else 0
    positions = torch.arange(tokens.size(1)) + before
    x = tensors[f"{kind}.embeddings.word_embeddings.weight"][tokens]
    x = x + tensors[f"{kind}.embeddings.position_embeddings.weight"][positions]
    x = norm(
        x + tensors[f"{kind}.embeddings.token_type_embeddings.weight"][types],
        "embeddings.LayerNorm",
    )
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{layer}.attention.self.{name}").unflatten(-1, (heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
        attended = (weights @ v).transpose(1, 2).flatten(-2)
        attended = linear(attended, f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output.LayerNorm")
        inner = F.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x


def class_logits(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], hidden: Tensor
) -> Tensor:
    """What the classification head computes of hidden states ``[B, T, C]``: ``[B, classes]``."""
    bert = config["model_type"] == "bert"
    dense = "bert.pooler.dense" if bert else "classifier.dense"
    out = "classifier" if bert else "classifier.out_proj"
    first = hidden[:, 0] @ tensors[f"{dense}.weight"].T + tensors[f"{dense}.bias"]
    return first.tanh() @ tensors[f"{out}.weight"].T + tensors[f"{out}.bias"]
