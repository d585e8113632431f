"""The registry of export formats: one class a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from ..checkpoints.checkpoint import Checkpoint
from ..heads.head_map import HeadMap
from .parity import Hypothesis, Translations, translate


@dataclass(frozen=True)
class Order:
    """What is to be exported.

    Attributes:
        source: the checkpoint; its weights are those of all heads.
        head_map: the heads to keep.
        signature: where they come from.
        data: a folder with dictionaries, for formats that hold them.
        quantization: one of the format's.
    """

    source: Checkpoint
    head_map: HeadMap
    signature: str
    data: Path | None
    quantization: str


class Exporter(ABC):
    """A format of ``dsp-export``; register a subclass with :func:`register_exporter`.

    Attributes:
        name: as ``--format`` has it.
        help: a line for ``--help``.
        quantizations: the choices of ``--quantization``, the default first.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    quantizations: ClassVar[tuple[str, ...]] = ("float32",)

    @abstractmethod
    def write(self, order: Order, output: Path, part: Path) -> int:
        """Writes the file or folder ``part``, which will be called ``output``.

        Returns:
            the number of parameters in it.

        Raises:
            PruningError: the format cannot hold this model.
        """

    def notes(self, head_map: HeadMap) -> list[str]:
        """Lines for the command's table: what is to be known of these heads in this format."""
        return []

    def translate(self, exported: Path, original: Translations) -> list[Hypothesis]:
        """What ``--check`` compares: the best hypotheses of the original's sentences."""
        return translate(exported, original.data, original.direction).hypotheses


EXPORTERS: dict[str, Exporter] = {}
"""The formats by name."""

_Class = TypeVar("_Class", bound=type[Exporter])


def register_exporter(exporter: _Class) -> _Class:
    """A class decorator: the format becomes a choice of ``dsp-export --format``."""
    EXPORTERS[exporter.name] = exporter()
    return exporter
