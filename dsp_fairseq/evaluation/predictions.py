"""What a classifier says of each input of a split, and its file."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data.data_utils import load_indexed_dataset
from torch import Tensor

from ..checkpoints.checkpoint import load_checkpoint
from ..data.batches import beside, load_split, split_batches, to_gpu
from ..data.dataspec import own_task
from ..errors import PruningError
from ..files import read_text
from ..progress import progress

_COLUMNS = ("input", "label", "prediction")


@dataclass(frozen=True)
class Predictions:
    """The answers of a classifier, in the order of the data.

    Attributes:
        classes: their names, in the order of their numbers.
        labels: the right class of each input; None where the data has none.
        given: the most probable class of each input; the first of equals.
        probabilities: of each class, by input.
        inputs: a digest of each input, by which data is told apart; None where it is not known.
        vocabulary: a digest of that of the inputs, whose digests compare within it.
    """

    classes: tuple[str, ...]
    labels: list[str] | None
    given: list[str]
    probabilities: list[list[float]]
    inputs: list[str] | None = None
    vocabulary: str = ""


# ---- predicting


def predict(
    checkpoint: Path,
    data: Path,
    split: str,
    num_of_heads: str | None = None,
    max_tokens: int = 4096,
    cpu: bool = False,
    other: Callable[..., Any] | None = None,
) -> Predictions:
    """Runs a classifier over a split.

    Args:
        checkpoint: of a model with a classification head, dense, gated or exported.
        data: folder of the binarised data.
        split: such as ``test``.
        num_of_heads: one of several budgets that it was trained for (default: its first).
        max_tokens: the size of a batch.
        cpu: do not use a GPU.
        other: computes logits in the place of the model, from the same batches.

    Raises:
        PruningError: the checkpoint is no classifier, or the data is not of its kind.
    """
    found = load_checkpoint(checkpoint)
    head = found.config("criterion").get("classification_head_name")
    if not head:
        raise PruningError(f"{checkpoint} is no classifier: dsp-predict needs one")
    if num_of_heads is not None:
        found.head_map(num_of_heads)  # fairseq's own models would take any number, and ignore it
    overrides = {"data": str(data)}
    if num_of_heads is not None:
        overrides["num_of_heads"] = num_of_heads
    state = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint), overrides)
    # fairseq's own task does not say its classes.
    state["cfg"].task._name = own_task(state["cfg"].task._name)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], state=state
    )
    load_split(task, split)
    model.eval()
    to_gpu(model, cpu)
    return _run(model, task, split, head, max_tokens, other or model)


@torch.no_grad()
def _run(
    model: Any, task: Any, split: str, head: str, max_tokens: int, answer: Callable[..., Any]
) -> Predictions:
    classes = tuple(task.labels)
    batches = split_batches(task, [model], split, max_tokens)
    rows: dict[int, list[float]] = {}
    labels: dict[int, str] = {}
    for batch in progress(batches, len(batches), f"predicting {split}", "batches"):
        sample = beside(model, batch)
        logits, _ = answer(**sample["net_input"], features_only=True, classification_head_name=head)
        numbers = sample["id"].tolist()
        rows.update(zip(numbers, _probabilities(logits), strict=True))
        if "target" in sample:
            targets = sample["target"].flatten().tolist()
            labels.update(zip(numbers, (classes[t] for t in targets), strict=True))
    order = sorted(rows)
    if order != list(range(len(task.dataset(split)))):
        raise PruningError(f"some inputs of the {split} split are too long for the model")
    probabilities = [rows[i] for i in order]
    return Predictions(
        classes,
        [labels[i] for i in order] if labels else None,
        [classes[row.index(max(row))] for row in probabilities],
        probabilities,
        input_digests(task, split),
        vocabulary_of(task),
    )


def _probabilities(logits: Tensor) -> list[list[float]]:
    return logits.double().softmax(-1).tolist()


def input_digests(task: Any, split: str) -> list[str]:
    """A digest of the text of each input, as it is in the data, whatever a model makes of it."""
    dictionary, folder = task.source_dictionary, Path(task.cfg.data)
    parts = [load_indexed_dataset(str(folder / f"input{i}" / split), dictionary) for i in range(2)]
    return [
        _digest("\t".join(dictionary.string(tokens.tolist()) for tokens in sentences), 16)
        for sentences in zip(*(part for part in parts if part is not None), strict=True)
    ]


def vocabulary_of(task: Any) -> str:
    """A digest of the symbols of its dictionary, in whatever order."""
    return _digest("\n".join(sorted(task.source_dictionary.symbols)), 8)


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


# ---- the file


def write_tsv(predictions: Predictions) -> str:
    """A line for each input: number, label, prediction, probability of each class, digest."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    digests: list[list[str]] = [[] for _ in predictions.given]
    title = []
    if predictions.inputs is not None:
        digests = [[digest] for digest in predictions.inputs]
        title = [f"sha256 (vocabulary {predictions.vocabulary})"]
    writer.writerow([*_COLUMNS, *predictions.classes, *title])
    labels = predictions.labels or [""] * len(predictions.given)
    answers = zip(labels, predictions.given, predictions.probabilities, digests, strict=True)
    for number, (label, given, row, digest) in enumerate(answers):
        writer.writerow([number, label, given, *(f"{p:.6f}" for p in row), *digest])
    return text.getvalue()


def read_tsv(path: Path) -> Predictions:
    """Predictions that :func:`write_tsv` wrote.

    Raises:
        PruningError: the file cannot be read, or holds something else.
    """
    try:
        lines = list(csv.reader(io.StringIO(read_text(path)), delimiter="\t"))
    except csv.Error as error:
        raise PruningError(f"cannot read {path}: {error}") from None
    if not lines or tuple(lines[0][: len(_COLUMNS)]) != _COLUMNS or len(lines) < 2:
        raise PruningError(f"{path} holds no predictions of dsp-predict")
    header, *rows = lines
    # Earlier versions wrote no digests; a class has no space in its name.
    known = re.fullmatch(r"sha256 \(vocabulary (\w+)\)", header[-1])
    digests = [row.pop() for row in rows if row] if known else None
    classes = tuple(header[len(_COLUMNS) : -1 if known else None])
    labels: list[str] = []
    probabilities: list[list[float]] = []
    for number, row in enumerate(rows):
        try:
            values = [float(value) for value in row[len(_COLUMNS) :]]
            sound = row[0] == str(number) and row[1] in ("", *classes) and row[2] in classes
            if not sound or len(values) != len(classes) or not all(map(math.isfinite, values)):
                raise ValueError
        except (ValueError, IndexError):
            raise PruningError(f"{path}, line {number + 2}, is damaged: predict again") from None
        labels.append(row[1])
        probabilities.append(values)
    if "" in labels and set(labels) != {""}:
        raise PruningError(f"{path} has labels for some of its inputs only: predict again")
    given = [row[2] for row in rows]
    return Predictions(
        classes,
        None if "" in labels else labels,
        given,
        probabilities,
        digests,
        known[1] if known else "",
    )


# ---- an export


@dataclass(frozen=True)
class SameClasses:
    """How many inputs two classifiers put into the same class.

    Attributes:
        inputs: how many were compared.
        equal: those with the same prediction.
        difference: of any probability, at most.
    """

    inputs: int
    equal: int
    difference: float

    def __str__(self) -> str:
        return (
            f"check        {self.equal} of {self.inputs} predictions are the same; probabilities "
            f"differ by {self.difference:.1e} at most"
        )


def same_classes(one: Predictions, other: Predictions) -> SameClasses:
    """Compares the predictions of two classifiers, input by input."""
    equal = sum(a == b for a, b in zip(one.given, other.given, strict=True))
    pairs = zip(one.probabilities, other.probabilities, strict=True)
    differences = (abs(a - b) for rows in pairs for a, b in zip(*rows, strict=True))
    return SameClasses(len(one.given), equal, max(differences, default=0.0))
