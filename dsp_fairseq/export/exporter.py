"""The registry of export formats: one class a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..checkpoints.checkpoint import Checkpoint
from ..errors import refuse_taken
from ..heads.head_map import HeadMap
from .parity import Hypothesis, Translations, translate


@dataclass(frozen=True)
class FormatOptions:
    """What single formats can be told.

    Attributes:
        data: a folder with dictionaries, for formats that hold them (default: the training's).
        quantization: one of the format's.
        tokenizer: a folder with the tokenizer of the original model.
        remove_heads: whether closed heads are removed, where the format has zeros for them.
    """

    data: Path | None = None
    quantization: str = "float32"
    tokenizer: Path | None = None
    remove_heads: bool = False


@dataclass(frozen=True)
class Order:
    """What is to be exported.

    Attributes:
        source: the checkpoint; its weights are those of all heads.
        head_map: the heads to keep.
        signature: where they come from.
        options: what the format was told.
    """

    source: Checkpoint
    head_map: HeadMap
    signature: str
    options: FormatOptions


class Exporter(ABC):
    """A format of ``dsp-export``; register a subclass with :func:`register_exporter`.

    Attributes:
        name: as ``--format`` has it.
        help: a line for ``--help``.
        quantizations: the choices of ``--quantization``, the default first.
        flags: those of :class:`FormatOptions` that this format alone has.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    quantizations: ClassVar[tuple[str, ...]] = ("float32",)
    flags: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(self, order: Order, output: Path, part: Path) -> int:
        """Writes the file or folder ``part``, which will be called ``output``.

        Returns:
            the number of parameters in it.

        Raises:
            PruningError: the format cannot hold this model.
        """

    def notes(self, order: Order) -> list[str]:
        """Lines for the command's table: what is to be known of this export."""
        return []

    def translate(self, exported: Path, original: Translations) -> Sequence[Hypothesis | None]:
        """What ``--check`` compares: the best hypotheses of the original's sentences."""
        return translate(exported, original.data, original.direction).hypotheses

    def classifier(self, exported: Path, order: Order) -> Callable[..., Any] | None:
        """What ``--check`` asks for logits of fairseq's batches; None where fairseq loads it."""
        return None


EXPORTERS: dict[str, Exporter] = {}
"""The formats by name."""

_Class = TypeVar("_Class", bound=type[Exporter])


def register_exporter(exporter: _Class) -> _Class:
    """A class decorator: the format becomes a choice of ``dsp-export --format``.

    Raises:
        PruningError: its name is another's.
    """
    refuse_taken(EXPORTERS, exporter.name, "format of export")
    EXPORTERS[exporter.name] = exporter()
    return exporter
