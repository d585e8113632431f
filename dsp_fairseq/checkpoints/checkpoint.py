"""``Checkpoint``: one file of fairseq-train or of these tools, and what can be asked of it."""

from __future__ import annotations

import copy
import inspect
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from torch import Tensor

from ..errors import PruningError
from ..heads.family import Family, architecture, family_of
from ..heads.head_map import HeadMap
from ..heads.layout import HeadLayout
from .formats import EMBEDDING_PATHS, GATES, check_format, upgrade_weights
from .kept_heads import kept_heads
from .reading import read_state, stored_arguments
from .validation import check_tensors
from .weights import tie_embeddings, without_gates

EXPORT_FORMAT = "dsp_format"
"""In a checkpoint of dsp-export, the number of its format."""

SIGNATURE = "dsp_signature"
"""In a checkpoint of dsp-export, where its heads come from."""

RANKED_BY = "dsp_scored_by"
"""In a checkpoint of dsp-rank-heads, the name of the method."""

REPAIRED = "dsp_repaired_on"
"""In a checkpoint that was repaired, the number and size of the batches."""


@dataclass(eq=False)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: its file, or the file that it is going to be; messages name it.
        state: what the file holds.
    """

    path: Path
    state: dict[str, Any]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The state dict of the model."""
        return self.state["model"]

    @cached_property
    def args(self) -> Namespace:
        """A copy of the model's arguments; the architecture fills in what the file lacks."""
        node = stored_arguments(self.state)
        args = Namespace(**(node if isinstance(node, Mapping) else vars(node)))
        fill_in = ARCH_CONFIG_REGISTRY.get(architecture(args))
        if fill_in is not None:
            # Without the checks of a training's flags.
            inspect.unwrap(fill_in)(args)
        return args

    @cached_property
    def family(self) -> Family:
        """The family of the model.

        Raises:
            PruningError: it is of none.
        """
        try:
            return family_of(self.args)
        except PruningError as error:
            raise PruningError(f"{self.path}: {error.message}") from None

    @cached_property
    def layout(self) -> HeadLayout:
        """All heads of the model, those included that an export removed.

        Raises:
            PruningError: of an unknown family, or without numbers of layers and heads.
        """
        try:
            return self.family.layout(self.args)
        except AttributeError as error:
            raise PruningError(
                f"{self.path} does not say its model's {error.name}, and its architecture "
                f"{architecture(self.args)!r} is not known"
            ) from None
        except (TypeError, ValueError) as error:
            raise PruningError(
                f"{self.path} is damaged: its numbers of layers or heads are invalid: {error}"
            ) from None

    def config(self, group: str) -> Mapping[str, Any]:
        """A group of the training's configuration, such as ``task``; empty where it has none."""
        config = self.state.get("cfg")
        # Older versions of fairseq wrote all flags into one namespace.
        node = self.state.get("args") if config is None else config.get(group)
        return (vars(node) if isinstance(node, Namespace) else node) or {}

    @property
    def data_state(self) -> Mapping[str, Any]:
        """What the task stored of its data, such as the classes; empty where it did not."""
        return self.state.get("task_state") or {}

    @property
    def updates(self) -> int:
        """The number of updates that it was trained for; 0 where it does not say."""
        history = self.state.get("optimizer_history") or [{}]
        return int(history[-1].get("num_updates", 0))

    @property
    def has_gates(self) -> bool:
        """Whether it holds importance."""
        return f"{GATES}importance" in self.weights

    @property
    def lacks_heads(self) -> bool:
        """Whether closed heads were removed: an export, or one that was trained further."""
        return getattr(self.args, "kept_heads", None) is not None

    @property
    def is_export(self) -> bool:
        """Whether its heads are chosen for good: an export, or one that was trained further."""
        return self.lacks_heads or SIGNATURE in self.state

    def head_map(self, num_of_heads: int | str | None = None) -> HeadMap:
        """Which heads it keeps.

        Args:
            num_of_heads: K instead of the checkpoint's own, which must not be frozen then.

        Raises:
            PruningError: it holds no choice of heads, is damaged, or K does not fit.
        """
        if not (self.has_gates or getattr(self.args, "kept_heads", None)):
            raise PruningError(
                f"{self.path} holds no head importance: it is not of a gated model, but of "
                f"{architecture(self.args) or 'an unnamed model'}"
            )
        return kept_heads(self.weights, self.args, self.layout, str(self.path), num_of_heads)

    def without_gates(self) -> dict[str, Tensor]:
        """The weights, without all that belongs to the choice of heads."""
        return without_gates(self.weights)

    def derive(self, path: Path, weights: dict[str, Tensor]) -> Checkpoint:
        """A checkpoint of other weights, without optimizer, whose configuration may be changed.

        What fairseq needs for loading stays: ``optimizer_history``, and the place in the data.
        """
        state = {k: v for k, v in self.state.items() if k not in ("last_optimizer_state", "model")}
        # Older versions of fairseq wrote ``args`` instead.
        if isinstance(state.get("cfg"), Mapping):
            state["cfg"] = copy.deepcopy(state["cfg"])
            state["args"] = None
            model = state["cfg"].get("model")
            for node in (model, getattr(model, "__dict__", None)):
                if isinstance(node, dict):
                    node.update(dict.fromkeys(node.keys() & set(EMBEDDING_PATHS)))
        # fairseq reads the number of updates here; validation scores hold numpy types.
        extra = self.state.get("extra_state") or {}
        state["extra_state"] = {k: v for k, v in extra.items() if k == "train_iterator"}
        return Checkpoint(path, {**state, "model": weights})

    def save(self, part: Path) -> None:
        """Writes it to a temporary path, which will get its name.

        Raises:
            PruningError: it cannot be written, since the disk is full.
        """
        try:
            with part.open("wb") as file:
                torch.save(self.state, file)
        except (OSError, RuntimeError) as error:  # PyTorch makes the second of the first
            reason = getattr(error, "strerror", None)
            reason = reason or "the disk is full, or files may not be so big"
            raise PruningError(f"cannot write {self.path}: {reason}") from None


def load_checkpoint(path: Path) -> Checkpoint:
    """Loads a fairseq checkpoint, without running code from it, in the present format.

    Raises:
        PruningError: not a file with weights and a model's arguments, one that is damaged, or one
            that a newer version wrote.
    """
    state = read_state(path)
    if EXPORT_FORMAT in state:
        check_format(state[EXPORT_FORMAT], str(path))
    check_tensors(state["model"], str(path))
    upgrade_weights(state["model"], str(path))
    tie_embeddings(state["model"])
    return Checkpoint(path, state)


def peek(path: Path) -> Checkpoint:
    """As :func:`load_checkpoint`, but cheap for large files: no tensor is read or checked.

    A file that was cut off is found out all the same, since its table of contents is at its end.
    """
    return Checkpoint(path, read_state(path, mmap=zipfile.is_zipfile(path)))
