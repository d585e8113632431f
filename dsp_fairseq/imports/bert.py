"""BERT and RoBERTa encoders of Hugging Face's transformers, as checkpoints of ``dsp_roberta``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_INV_REGISTRY, MODEL_REGISTRY
from torch import Tensor

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.formats import GATES, POOLER
from ..checkpoints.validation import check_tensors
from ..errors import CommandExit, PruningError
from ..files import in_place_of, refuse_existing
from ..heads.layout import HeadLayout
from ..tasks.sentence_prediction import TOKENS, DspSentencePredictionTask, task_state
from .huggingface import CONFIG, WEIGHTS, PretrainedFolder
from .names import (
    ACTIVATIONS,
    BEFORE_POSITIONS,
    CLASSIFIER,
    ENCODER,
    HEAD,
    SEPARATORS,
    SHAPE,
    SPECIAL,
    layer_names,
    token_order,
)

MODEL = "dsp_roberta"

TYPE_CHOICES = ("keep", "fold")

_MASKED_TOKENS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
             "cls.predictions.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """What was imported.

    Attributes:
        output: the checkpoint.
        dictionary: its vocabulary, for ``--srcdict``.
        labels: the classes of its classification head, for ``--srcdict`` too; empty without one.
        labels_file: where they are, if there are any.
        layout: its heads.
        args: the model's arguments, as they are stored.
        token_types: what was done with them.
        separators: how many tokens part the sentences of a pair.
        pooler: whether new classification heads start from the model's pooler.
        left_out: the tensors that have no place, and the rows of tables.
    """

    output: Path
    dictionary: Path
    labels: list[str]
    labels_file: Path
    layout: HeadLayout
    args: Namespace
    token_types: str
    separators: int
    pooler: bool
    left_out: list[str]

    def training_flags(self) -> list[str]:
        """The flags of a training that starts from it, the data's and the task's left out."""
        plain = _plain(self.args.arch)
        given = [f"--arch {self.args.arch}"]
        for name in (*SHAPE, "layer_norm_eps", "token_types", "activation_fn"):
            value = getattr(self.args, name)
            if value != getattr(plain, name):
                given.append(f"--{name.replace('_', '-')} {value}")
        return [*given, f"--max-positions {self.args.max_positions}"]


def import_bert(folder: Path, output: Path, token_types: str = "keep") -> Import:
    """Writes the model of a folder as a checkpoint of ``dsp_roberta`` with all its heads.

    Beside it are written its vocabulary (``.dict.txt``) and, if it has a classification head, its
    labels (``.labels.txt``).

    Args:
        folder: of Hugging Face's transformers.
        output: a new file.
        token_types: what to do with the embeddings that tell the sentences of a pair apart:
            ``keep``, or ``fold`` that of the first sentence into the positions.

    Raises:
        PruningError: an output exists; the model is of another architecture, damaged, or has what
            ``dsp_roberta`` cannot do.
    """
    dictionary_file, labels_file = (output.with_suffix(s) for s in (".dict.txt", ".labels.txt"))
    for path in (output, dictionary_file, labels_file):
        refuse_existing(path)
    source = _Source.read(folder, token_types)
    with ExitStack() as stack:
        part = stack.enter_context(in_place_of(output))
        words = stack.enter_context(in_place_of(dictionary_file))
        dictionary = write_vocabulary(source.tokens, source.folder.path, words)
        model = _build(source, dictionary)
        state = _state(source, dictionary)
        Checkpoint(output, state).save(part)
        if source.labels:
            _write_dictionary(stack.enter_context(in_place_of(labels_file)), source.labels)
    return Import(
        output,
        dictionary_file,
        source.labels,
        labels_file,
        model.head_gates.layout,
        model.args,
        source.types_said,
        SEPARATORS[architecture(source.folder)],
        bool(source.pooler),
        source.left_out,
    )


# ---- reading


@dataclass
class _Source:
    """A model as fairseq has it: its arguments, tokens in fairseq's order, and weights."""

    folder: PretrainedFolder
    args: Namespace
    tokens: list[str]
    weights: dict[str, Tensor]
    pooler: dict[str, Tensor]
    labels: list[str]
    types_said: str
    left_out: list[str]

    @classmethod
    def read(cls, path: Path, token_types: str) -> _Source:
        folder = PretrainedFolder.open(path)
        kind = architecture(folder)
        args, vocabulary = _arguments(folder), folder.vocabulary()
        order = token_order(kind, vocabulary, path)
        taker = _Taker(folder, folder.tensors())
        weights, types_said = _embeddings(taker, kind, order, token_types)
        args.token_types = 2 if f"{ENCODER}embed_types.weight" in weights else 0
        args.max_positions = weights[f"{ENCODER}embed_positions.weight"].size(0) - (
            BEFORE_POSITIONS
        )
        for theirs, ours in layer_names(args.encoder_layers):
            weights |= taker.layer(theirs, ours)
        weights |= _masked_tokens(taker, kind, order, args.encoder_embed_dim)
        pooler, labels = _heads(taker, kind, weights)
        tokens = [vocabulary[number] for number in order]
        return cls(folder, args, tokens, weights, pooler, labels, types_said, taker.left_out())


class _Taker:
    """Hands out the tensors of a folder, and knows which were not asked for."""

    def __init__(self, folder: PretrainedFolder, tensors: dict[str, Tensor]) -> None:
        self.folder, self.tensors = folder, tensors
        self.taken: set[str] = set()
        self.rows_left: list[str] = []
        check_tensors(tensors, str(folder.path / WEIGHTS))

    def has(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise PruningError(f"{self.folder.path / WEIGHTS} lacks {name}")
        self.taken.add(name)
        return self.tensors[name]

    def layer(self, theirs: str, ours: str) -> dict[str, Tensor]:
        """Weight and bias of a layer."""
        return {f"{ours}.{part}": self.take(f"{theirs}.{part}") for part in ("weight", "bias")}

    def leave_rows(self, name: str, used: int) -> None:
        """Notes that only the first rows of a table are used."""
        rest = self.tensors[name].size(0) - used
        if rest:
            row = "the last row" if rest == 1 else f"the last {rest} rows"
            self.rows_left.append(f"{row} of {name}, of no token")

    def left_out(self) -> list[str]:
        """What has no place in the new model.

        Raises:
            PruningError: a part of the encoder: it computes something else.
        """
        rest = [name for name in self.tensors if name not in self.taken]
        rest = [name for name in rest if not name.endswith(("position_ids", "token_type_ids"))]
        for name in rest:
            if name.startswith(("encoder.", "embeddings.")):
                raise PruningError(
                    f"{self.folder.path / WEIGHTS} has {name}, which no "
                    f"{self.folder.config['model_type']} has"
                )
        return [*self.rows_left, *rest]


def architecture(folder: PretrainedFolder) -> str:
    """``bert`` or ``roberta``.

    Raises:
        PruningError: another one, or one that computes what ``dsp_roberta`` cannot.
    """
    config, where = folder.config, folder.path / CONFIG
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in SPECIAL:
        raise PruningError(f"{where}: model_type {kind!r} is none of {', '.join(SPECIAL)}")
    for name, supported in (
        ("hidden_act", (*ACTIVATIONS, None)),
        ("position_embedding_type", ("absolute", None)),
        ("is_decoder", (False, None)),
        ("add_cross_attention", (False, None)),
        ("pruned_heads", ({}, None)),
    ):
        if config.get(name) not in supported:
            raise PruningError(f"{where}: {name} {config[name]!r} is not supported by dsp_roberta")
    return str(kind)


def _arguments(folder: PretrainedFolder) -> Namespace:
    """The arguments of the model and the architecture of its shape, where one is registered."""
    config = folder.config
    shape = {ours: folder.number(theirs) for ours, theirs in SHAPE.items()}
    width, heads = shape["encoder_embed_dim"], shape["encoder_attention_heads"]
    if width % heads:
        raise PruningError(f"{folder.path / CONFIG}: {heads} heads cannot share a width of {width}")
    arch = MODEL
    for name in ARCH_MODEL_INV_REGISTRY[MODEL]:
        plain = _plain(name)
        if name != arch and all(getattr(plain, key) == value for key, value in shape.items()):
            arch = name
            break
    return Namespace(
        arch=arch,
        _name=arch,
        **shape,
        activation_fn=ACTIVATIONS[config.get("hidden_act") or "gelu"],
        dropout=folder.share("hidden_dropout_prob", 0.1),
        attention_dropout=folder.share("attention_probs_dropout_prob", 0.1),
        layer_norm_eps=folder.share("layer_norm_eps", 1e-12),
        num_of_heads=str(shape["encoder_layers"] * heads),
    )


def _plain(arch: str, args: Namespace | None = None) -> Namespace:
    """Arguments, with what an architecture fills in."""
    args = Namespace() if args is None else args
    ARCH_CONFIG_REGISTRY[arch](args)
    return args


def _embeddings(
    taker: _Taker, kind: str, order: Sequence[int], token_types: str
) -> tuple[dict[str, Tensor], str]:
    """The tables of tokens, positions and token types, and what was done with the last."""
    words = taker.take("embeddings.word_embeddings.weight")
    if words.size(0) < len(order):
        raise PruningError(
            f"the vocabulary of {taker.folder.path} has {len(order)} tokens, and its model "
            f"{words.size(0)}"
        )
    taker.leave_rows("embeddings.word_embeddings.weight", len(order))
    words = words[torch.tensor(order)].clone()
    words[1] = 0.0  # that of padding
    positions = taker.take("embeddings.position_embeddings.weight")
    first = first_position(kind, taker.folder)
    positions = torch.cat([torch.zeros(BEFORE_POSITIONS, positions.size(1)), positions[first:]])
    tables = {
        f"{ENCODER}embed_tokens.weight": words,
        f"{ENCODER}embed_positions.weight": positions,
    }
    types = taker.take("embeddings.token_type_embeddings.weight")
    if kind == "bert" and types.size(0) == 2 and token_types == "keep":
        tables[f"{ENCODER}embed_types.weight"] = types
        return tables, "kept: 0 in the first sentence of a pair, 1 in the second"
    if kind == "bert" and types.size(0) > 1 and token_types != "fold":
        raise PruningError(
            f"{taker.folder.path / WEIGHTS} has {types.size(0)} token types, dsp_roberta has 2: "
            "give --token-types fold, if it was trained with the first alone"
        )
    positions[BEFORE_POSITIONS:] += types[0]
    tables[f"{ENCODER}embed_positions.weight"] = positions
    if types.size(0) == 1:
        return tables, "folded into the positions: it has one"
    if kind == "roberta":
        return tables, "folded into the positions: a RoBERTa gives the first to all tokens"
    return tables, "folded into the positions: all tokens are of type 0, those of pairs too"


def first_position(kind: str, folder: PretrainedFolder) -> int:
    """The row of the first token in their table of positions: RoBERTa's is behind the padding's.

    Raises:
        PruningError: the number of the padding is none.
    """
    if kind == "bert":
        return 0
    pad = folder.config.get("pad_token_id", 1)
    if not isinstance(pad, int) or pad < 0:
        raise PruningError(f"{folder.path / CONFIG} has no valid pad_token_id: {pad!r}")
    return pad + 1


def _masked_tokens(taker: _Taker, kind: str, order: Sequence[int], width: int) -> dict[str, Tensor]:
    """The head for masked tokens, which fairseq's model always has; classifiers do not use it."""
    dense, norm, bias = _MASKED_TOKENS[kind]
    ours = "encoder.lm_head"
    if not taker.has(bias):
        return {
            f"{ours}.dense.weight": torch.eye(width),
            f"{ours}.dense.bias": torch.zeros(width),
            f"{ours}.layer_norm.weight": torch.ones(width),
            f"{ours}.layer_norm.bias": torch.zeros(width),
            f"{ours}.bias": torch.zeros(len(order)),
        }
    layers = taker.layer(dense, f"{ours}.dense") | taker.layer(norm, f"{ours}.layer_norm")
    return layers | {f"{ours}.bias": taker.take(bias)[torch.tensor(order)]}


def _heads(
    taker: _Taker, kind: str, weights: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Adds a classification head to the weights; returns the pooler without one, and labels."""
    dense, out = CLASSIFIER[kind]
    classes = taker.tensors.get(f"{out}.bias", torch.empty(0)).numel()
    if taker.has(f"{dense}.weight") and classes > 1:
        _check_classifier(taker.folder)
        prefix = f"classification_heads.{HEAD}"
        weights |= taker.layer(dense, f"{prefix}.dense") | taker.layer(out, f"{prefix}.out_proj")
        return {}, _labels(taker.folder, classes)
    if not taker.has("pooler.dense.weight"):
        return {}, []
    pooler = taker.layer("pooler.dense", f"{POOLER}dense")
    width = next(iter(pooler.values())).size(0)
    # fairseq expects both layers of a head.
    none = {"weight": torch.zeros(0, width), "bias": torch.zeros(0)}
    return pooler | {f"{POOLER}out_proj.{part}": value for part, value in none.items()}, []


def head_labels(folder: PretrainedFolder) -> list[str]:
    """The classes of its classification head, in order; none without one.

    Raises:
        PruningError: the weights cannot be read, or the labels are of another number.
    """
    kind = architecture(folder)
    layers = tuple(layer for pair in CLASSIFIER.values() for layer in pair)
    return _heads(_Taker(folder, folder.tensors(layers)), kind, {})[1]


def _check_classifier(folder: PretrainedFolder) -> None:
    """Layers of the same names label words, or answer several questions at once."""
    for name in folder.config.get("architectures") or []:
        if not str(name).endswith("ForSequenceClassification"):
            raise PruningError(
                f"{folder.path / CONFIG}: its head is that of {name}, not of a classifier of "
                "sentences (ForSequenceClassification)"
            )
    problem = folder.config.get("problem_type")
    if problem not in (None, "single_label_classification"):
        raise PruningError(
            f"{folder.path / CONFIG}: problem_type {problem}, where one class of several is chosen "
            "(single_label_classification)"
        )


def _labels(folder: PretrainedFolder, classes: int) -> list[str]:
    names = folder.config.get("id2label")
    if names is None:
        return [f"LABEL_{number}" for number in range(classes)]
    known = names if isinstance(names, dict) else {}
    # In files of fairseq, a label is a word.
    labels = ["_".join(str(known.get(str(n), "")).split()) for n in range(classes)]
    if len(known) != classes or len({*labels, ""}) != classes + 1:
        raise PruningError(f"{folder.path / CONFIG}: id2label does not name {classes} classes")
    return labels


# ---- writing


def _write_dictionary(part: Path, words: Sequence[str]) -> None:
    part.write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")


def write_vocabulary(tokens: Sequence[str], path: Path, output: Path) -> Dictionary:
    """Writes the dictionary of tokens, and returns it as fairseq reads it back.

    Args:
        tokens: in fairseq's order, from ``<s>`` to ``<mask>``.
        path: where they come from, for messages.
        output: a new file.

    Raises:
        PruningError: fairseq cannot hold them.
    """
    _write_dictionary(output, tokens[4:-1])
    reason = "some token is of blanks"
    try:
        dictionary = DspSentencePredictionTask.load_dictionary(str(output))
        if dictionary.symbols[4:-1] == tokens[4:-1]:
            return dictionary
    except (RuntimeError, ValueError) as error:
        reason, _, _ = str(error).strip().partition(". ")
    raise PruningError(f"the vocabulary of {path} has tokens that fairseq cannot hold: {reason}")


def _build(source: _Source, dictionary: Dictionary) -> Any:
    """The model, with these weights.

    Raises:
        PruningError: they are of another shape.
    """
    task: Any = SimpleNamespace(source_dictionary=dictionary, max_positions=lambda: None)
    model = MODEL_REGISTRY[MODEL].build_model(_plain(source.args.arch, source.args), task)
    if source.labels:
        model.register_classification_head(HEAD, num_classes=len(source.labels))
    own = model.state_dict()
    words = source.weights[f"{ENCODER}embed_tokens.weight"]
    source.weights["encoder.lm_head.weight"] = words
    for name, value in own.items():
        if name.startswith(GATES) or name.endswith("version"):
            source.weights[name] = value
    try:
        model.load_state_dict(dict(source.weights))
    except CommandExit as end:
        reason = end.error.message.removeprefix("the checkpoint is of another model: ")
        raise PruningError(
            f"{source.folder.path / WEIGHTS} does not fit {CONFIG}: {reason} (in fairseq's names)"
        ) from None
    return model


def _state(source: _Source, dictionary: Dictionary) -> dict[str, Any]:
    """What fairseq-train would have written before its first update."""
    criterion = {"classification_head_name": HEAD, "regression_target": False}
    task = {
        "_name": "dsp_sentence_prediction",
        "data": "",
        "num_classes": len(source.labels) or -1,
        "init_token": 0,
        "max_positions": source.args.max_positions,
        "seed": 1,  # fairseq's default
        **criterion,
    }
    if SEPARATORS[architecture(source.folder)] == 2:
        task["separator_token"] = dictionary.eos()
    known = task_state(source.labels, dictionary)
    known |= {name: task.get(name) for name in TOKENS}
    if not source.labels:
        del known["labels"]
    return {
        "args": None,
        "cfg": {
            "common": {},
            "bpe": None,
            "model": source.args,
            "task": task,
            "criterion": {"_name": "dsp_sentence_prediction", **criterion},
            "optimizer": {"_name": "dsp_adam"},
        },
        "model": source.weights | source.pooler,
        "task_state": known,
        "optimizer_history": [{"num_updates": 0, "lr_scheduler_state": {"best": None}}],
        "extra_state": {"train_iterator": {"epoch": 1}},
        "last_optimizer_state": None,
    }
