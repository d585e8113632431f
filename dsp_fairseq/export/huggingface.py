"""The format ``huggingface``: a folder of a classifier for Hugging Face's transformers."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.weights import slice_weights, zero_weights
from ..errors import PruningError, importing
from ..heads.head_map import HeadMap
from ..heads.layout import HeadLayout
from ..imports.huggingface import CONFIG, WEIGHTS, PretrainedFolder
from ..imports.names import (
    ACTIVATIONS,
    BEFORE_POSITIONS,
    CLASSIFIER,
    ENCODER,
    HEAD,
    SHAPE,
    SPECIAL,
    layer_names,
    token_order,
)
from ..tasks.sentence_prediction import task_state
from .exporter import Exporter, Order, register_exporter

logger = logging.getLogger(__name__)

TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt"),
)
"""What belongs to a tokenizer, of the files of a folder."""

_ONLY = {
    "encoder_normalize_before": False,
    "encoder_learned_pos": True,
    "layernorm_embedding": True,
    "no_scale_embedding": True,
    "no_token_positional_embeddings": False,
    "pooler_activation_fn": "tanh",
}
"""Arguments of fairseq's model, and what BERT and RoBERTa always do."""

_MARKS = {0: "<s>", 2: "</s>"}
"""Tokens around sentences, by fairseq's numbers."""

_REMOVES = 4
"""The last version of transformers that can remove heads."""


@register_exporter
class HuggingFaceExporter(Exporter):
    """A BERT or a RoBERTa that transformers loads without this package.

    Closed heads are zeros, or removed where that was asked for. With the tokenizer of the original
    model, tokens have its numbers again; else they have those of fairseq's dictionary.
    """

    name = "huggingface"
    help = (
        "is a folder for AutoModelForSequenceClassification of Hugging Face's transformers, closed "
        "heads zeros"
    )
    flags = ("tokenizer", "remove_heads")

    def write(self, order: Order, output: Path, part: Path) -> int:
        _check(order.source)
        if order.options.remove_heads:
            _check_transformers()
        form = _Form.of(order.source, order.options.tokenizer)
        form.check_reading(order.source)
        weights, removed = _weights(order, form)
        config = _config(order.source, form, weights)
        if order.options.remove_heads:
            config["pruned_heads"] = removed
        part.mkdir()
        _save(weights, order.signature, part, output)
        (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        # safetensors lets nobody else read its files.
        shutil.copymode(part / CONFIG, part / WEIGHTS)
        for name in TOKENIZER_FILES:
            if form.folder and (form.folder / name).is_file():
                shutil.copyfile(form.folder / name, part / name)
        if getattr(order.source.args, "token_types", 0):
            _ask_for_token_types(part / "tokenizer_config.json")
        return sum(weight.numel() for weight in weights.values())

    def classifier(self, exported: Path, order: Order) -> Callable[..., Any]:
        form = _Form.of(order.source, order.options.tokenizer)
        return partial(_logits, _load(exported), form)

    def notes(self, order: Order) -> list[str]:
        folder = order.options.tokenizer
        lines = [
            f"tokenizer    that of {folder}, whose numbers of tokens the model has"
            if folder
            else "tokenizer    none: the model's numbers of tokens are those of its dictionary in "
            "fairseq; --tokenizer FOLDER gives it the files and numbers of the original model"
        ]
        if order.options.remove_heads:
            lines.append(f"removed      loads in transformers {_REMOVES} only")
            empty = [site for site, heads in order.head_map.kept.items() if not heads]
            if empty:
                lines.append(
                    f"             one head of zeros stays in {', '.join(map(str, empty))}: "
                    "transformers has no layer without heads"
                )
        return lines


def _ask_for_token_types(path: Path) -> None:
    """Without this, tokenizers of no model's own class give none in transformers 5."""
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        inputs = config.get("model_input_names") or ["input_ids", "attention_mask"]
        if "token_type_ids" not in inputs:
            config["model_input_names"] = [*inputs, "token_type_ids"]
            path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


# ---- what can be written


def _check(source: Checkpoint) -> None:
    """Refuses what is no classifier, and what BERT and RoBERTa cannot do."""
    if source.family.dense != "roberta":
        raise PruningError(
            f"--format huggingface holds classifiers of dsp_roberta, not {source.family.name}"
        )
    if not any(name.startswith(_head_of(source)) for name in source.weights):
        raise PruningError(
            f"{source.path} has no classification head, which --format huggingface needs: train "
            "it for classification first"
        )
    args = source.args
    known: dict[str, Any] = {name: getattr(args, name, value) for name, value in _ONLY.items()}
    known["activation_fn"] = args.activation_fn in ACTIVATIONS.values()
    for name, value in {**_ONLY, "activation_fn": True}.items():
        if known[name] != value:
            raise PruningError(
                f"BERT and RoBERTa of Hugging Face's transformers have no counterpart of "
                f"--{name.replace('_', '-')} {getattr(args, name)}"
            )


def _check_transformers() -> None:
    """Refuses to remove heads where the installed transformers could not load the result.

    Without any installed, the folder is for another place, and the command's table says which.
    """
    try:
        version = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return
    if int(version.partition(".")[0]) > _REMOVES:
        raise PruningError(
            f"--remove-heads: transformers {version} cannot load models without some of their "
            f"heads, version {_REMOVES} could: leave it out, closed heads are zeros then"
        )


def _head_of(source: Checkpoint) -> str:
    """How the names of the classification head's weights begin."""
    name = source.config("criterion").get("classification_head_name") or HEAD
    return f"classification_heads.{name}."


@dataclass(frozen=True)
class _Form:
    """Which of the two models is written, and the numbers of its tokens.

    Attributes:
        kind: ``bert`` or ``roberta``.
        order: fairseq's number of a token -> that of the folder.
        folder: the tokenizer's; None where tokens keep fairseq's numbers.
    """

    kind: str
    order: list[int]
    folder: Path | None

    @classmethod
    def of(cls, source: Checkpoint, folder: Path | None) -> _Form:
        """Of a checkpoint and a folder with the tokenizer of the original model.

        Raises:
            PruningError: it is of another model.
        """
        size = source.weights[f"{ENCODER}embed_tokens.weight"].size(0)
        types = bool(getattr(source.args, "token_types", 0))
        if folder is None:
            return cls("bert" if types else "roberta", list(range(size)), None)
        vocabulary = PretrainedFolder(folder, {}).vocabulary()
        kind = "bert" if set(SPECIAL["bert"]) <= set(vocabulary) else "roberta"
        order = token_order(kind, vocabulary, folder)
        _check_vocabulary(source, [vocabulary[number] for number in order], size, folder)
        return cls(kind, order, folder)

    def check_reading(self, source: Checkpoint) -> None:
        """Compares how the tokenizer and the training put a pair of sentences together.

        Raises:
            PruningError: the model needs token types, and the tokenizer gives none.
        """
        if self.folder is None:
            return
        pair = PretrainedFolder(self.folder, {}).tokenizer().encode("a", "b")
        if getattr(source.args, "token_types", 0) and not any(pair.type_ids):
            raise PruningError(
                f"the tokenizer of {self.folder} gives no token types, which this model has: give "
                "that of the original model"
            )
        marks = {self.number(token): token for token in _MARKS}
        found = [marks[token] for token in pair.ids if token in marks]
        task = source.config("task")
        given = (task.get("init_token"), 2, task.get("separator_token"), 2)
        trained = [token for token in given if token is not None]
        if found != trained:
            logger.warning(
                "the tokenizer of %s puts %s around and between the sentences of a pair, and the "
                "model was trained with %s (--init-token, --separator-token): its answers to text "
                "may be others",
                self.folder,
                *(" ".join(_MARKS.get(t, str(t)) for t in tokens) for tokens in (found, trained)),
            )

    def number(self, token: int) -> int:
        """Of one of fairseq's special tokens ``<s> <pad> </s> <unk>``, from 0."""
        return self.order[token]


def _check_vocabulary(source: Checkpoint, tokens: list[str], size: int, folder: Path) -> None:
    dictionary = Dictionary()
    for token in (*tokens[4:-1], "<mask>"):
        dictionary.add_symbol(token)
    known = source.data_state.get("vocabulary")
    if len(tokens) != size or known not in (None, task_state([], dictionary)["vocabulary"]):
        raise PruningError(
            f"the tokenizer of {folder} has {len(tokens)} tokens, and they are not the {size} of "
            f"{source.path}: give the folder that the model was imported from"
        )


# ---- the content


def _weights(order: Order, form: _Form) -> tuple[dict[str, Tensor], dict[int, list[int]]]:
    """Its tensors, by their names there, and the heads that were removed from each layer."""
    source, layout, mask = order.source, order.head_map.layout, order.head_map.mask
    ours, removed = zero_weights(source.weights, layout, mask), {}
    if order.options.remove_heads:
        mask = _without_empty_layers(order.head_map)
        removed = _closed(layout, mask)
        ours = slice_weights(ours, layout, mask)
    own, dense, out = f"{form.kind}.", *CLASSIFIER[form.kind]
    head = _head_of(source)
    names = {f"{own}{theirs}": name for theirs, name in layer_names(source.args.encoder_layers)}
    # The pooler is a part of the encoder in BERT, and so is no layer of RoBERTa's head.
    before = own if form.kind == "bert" else ""
    names |= {f"{before}{dense}": f"{head}dense", out: f"{head}out_proj"}
    weights = dict(_tables(ours, form))
    for theirs, name in names.items():
        for part in ("weight", "bias"):
            weights[f"{theirs}.{part}"] = ours[f"{name}.{part}"]
    return {name: weight.float().contiguous() for name, weight in weights.items()}, removed


def _without_empty_layers(head_map: HeadMap) -> Tensor:
    """The mask, with one head more where a layer has none."""
    mask = head_map.mask.clone()
    for part in head_map.layout.split(mask).values():
        if not part.any():
            part[0] = 1.0
    return mask


def _closed(layout: HeadLayout, mask: Tensor) -> dict[int, list[int]]:
    closed = layout.kept(1.0 - mask)
    return {site.layer: heads for site, heads in closed.items() if heads}


def _tables(ours: Mapping[str, Tensor], form: _Form) -> Iterator[tuple[str, Tensor]]:
    """The embeddings of tokens, positions and token types."""
    tokens = ours[f"{ENCODER}embed_tokens.weight"]
    words = torch.empty_like(tokens)
    words[torch.tensor(form.order)] = tokens
    positions = ours[f"{ENCODER}embed_positions.weight"][BEFORE_POSITIONS:]
    types = ours.get(f"{ENCODER}embed_types.weight")
    width = tokens.size(1)
    if form.kind == "roberta":
        # Its positions begin behind the number of the padding.
        positions = torch.cat([positions.new_zeros(form.number(1) + 1, width), positions])
    if types is None:
        types = tokens.new_zeros(2 if form.kind == "bert" else 1, width)
    tables = {"word": words, "position": positions, "token_type": types}
    for name, table in tables.items():
        yield f"{form.kind}.embeddings.{name}_embeddings.weight", table


def _config(source: Checkpoint, form: _Form, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    args = source.args
    rows = {
        name: weights[f"{form.kind}.embeddings.{name}_embeddings.weight"].size(0)
        for name in ("word", "position", "token_type")
    }
    classes = weights[f"{CLASSIFIER[form.kind][1]}.bias"].numel()
    labels = source.data_state.get("labels")
    labels = labels or [f"LABEL_{number}" for number in range(classes)]
    theirs = {ours: name for name, ours in reversed(ACTIVATIONS.items())}
    name = {"bert": "Bert", "roberta": "Roberta"}[form.kind]
    return {
        "architectures": [f"{name}ForSequenceClassification"],
        "model_type": form.kind,
        "vocab_size": rows["word"],
        "max_position_embeddings": rows["position"],
        "type_vocab_size": rows["token_type"],
        **{name: getattr(args, ours) for ours, name in SHAPE.items()},
        "hidden_act": theirs[args.activation_fn],
        "hidden_dropout_prob": args.dropout,
        "attention_probs_dropout_prob": args.attention_dropout,
        "classifier_dropout": args.pooler_dropout,
        "layer_norm_eps": getattr(args, "layer_norm_eps", 1e-5),
        "bos_token_id": form.number(0),
        "pad_token_id": form.number(1),
        "eos_token_id": form.number(2),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "single_label_classification",
        "torch_dtype": "float32",
    }


def _save(weights: dict[str, Tensor], signature: str, part: Path, output: Path) -> None:
    with importing("safetensors", "'dsp-fairseq[nli]'"):
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    try:
        save_file(weights, part / WEIGHTS, {"format": "pt", "dsp_signature": signature})
    except (SafetensorError, OSError) as error:
        raise PruningError(f"cannot write {output}: {error}") from None


# ---- checking


def _load(folder: Path) -> Any:
    with importing("transformers"):
        import transformers
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()


def _logits(model: Any, form: _Form, src_tokens: Tensor, **_: Any) -> tuple[Tensor, None]:
    """What a model of transformers says of a batch of fairseq's."""
    tokens = src_tokens.cpu()
    ends = tokens.eq(2).long()
    types = (ends.cumsum(1) - ends).clamp(max=1) * (form.kind == "bert")
    mask = tokens.ne(1).long()
    inputs = torch.tensor(form.order)[tokens]
    return model(input_ids=inputs, attention_mask=mask, token_type_ids=types * mask).logits, None
