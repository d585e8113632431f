"""The references that a data folder keeps, and whether they are those of an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset

from dsp_text.blank import is_blank
from dsp_text.cleaner import Cleaner
from dsp_text.errors import TextError
from dsp_text.settings import SETTINGS_FILE, read_settings
from dsp_text.subwords import SYMBOLS, join_subwords, load_subwords

from ..errors import PruningError
from .generated import Generated

SIDES = {"target": "tgt", "source": "src"}
"""A model may translate into either language of a folder."""


@dataclass(frozen=True)
class References:
    """One language of a split of a folder that ``data-prep/`` made.

    Attributes:
        data: the folder.
        split: ``test`` or ``valid``.
        side: ``target`` or ``source``, as the folder names the language.
        settings: how the text was prepared.
        lines: the untouched text; a line in which nothing can be seen is empty.
    """

    data: Path
    split: str
    side: str
    settings: dict[str, Any]
    lines: list[str]

    @property
    def language(self) -> str:
        """The language of the references."""
        return str(self.settings[self.side])

    @property
    def lowercase(self) -> bool:
        """Whether everything was lowercased."""
        return bool(self.settings["lowercase"])

    @cached_property
    def words(self) -> Callable[[str], str]:
        """Turns the subword tokens of a line into words."""
        return join_subwords(self.settings["subword"])

    def plain_text(self, line: str) -> str:
        """Words of a line as plain text, by the inverse of the preparation."""
        return self._cleaner.restore(line)

    def differences(self, output: Generated) -> list[int]:
        """The positions in an output of the references (T-) that are not these."""
        return [
            position
            for position, number in enumerate(output.numbers)
            if not self._agrees(number, output.references[position].tokens)
        ]

    @cached_property
    def _cleaner(self) -> Cleaner:
        return Cleaner.from_settings(self.settings, self.side)

    @cached_property
    def _cleaned(self) -> list[str]:
        return [self._cleaner(line) for line in self.lines]

    def _agrees(self, number: int, tokens: str) -> bool:
        given, cleaned = _join_unknowns(self.words(tokens)), self._cleaned[number]
        if given == cleaned:
            return True
        if not cleaned:
            # Earlier preparations made unknown symbols of what cannot be seen.
            return set(given.split()) <= {"<unk>"}
        # A character that training did not meet, SentencePiece's own normalisation, or fairseq's
        # --tokenizer.
        encoded = [self.words(text) for text in self._encoded(number)]
        return given in (*encoded, *map(self.plain_text, encoded))

    def words_of(self, number: int, tokens: str) -> str:
        """The words of a reference that was printed, which may be plain text (``--tokenizer``)."""
        given = self.words(tokens)
        if _join_unknowns(given) == self._cleaned[number]:
            return given
        encoded = [self.words(text) for text in self._encoded(number)]
        is_plain = given not in encoded and given in map(self.plain_text, encoded)
        return encoded[0] if is_plain else given

    def _encoded(self, number: int) -> list[str]:
        """What may be printed of a reference: tokens, with and without unknown ones."""
        try:
            tokens = self._encode(self._cleaned[number])
            ids = self._dictionary.encode_line(tokens, add_if_not_exist=False)
            printed = [tokens, self._dictionary.string(ids)]
            if self._of_other_versions or any(s in self._cleaned[number] for s in SYMBOLS):
                printed.append(self._dictionary.string(self._binarised[number]))
        except OSError:
            # Without the subword model and the dictionary nothing is known of unknown symbols.
            return []
        return printed

    @cached_property
    def _encode(self) -> Callable[[str], str]:
        return load_subwords(self.settings["subword"], self.data)

    @cached_property
    def _dictionary(self) -> Any:
        path = self.data / f"dict.{self.language}.txt"
        path.stat()
        return Dictionary.load(str(path))

    @cached_property
    def _binarised(self) -> Any:
        pair = f"{self.settings['source']}-{self.settings['target']}"
        path = self.data / f"{self.split}.{pair}.{self.language}"
        path.with_name(path.name + ".idx").stat()
        return load_indexed_dataset(str(path), self._dictionary)

    @property
    def _of_other_versions(self) -> bool:
        """Whether the text was prepared with other versions of the libraries than are here.

        Earlier versions of this package wrote the words of :data:`SYMBOLS` otherwise.
        """
        versions = {
            f"version_{name.replace('-', '_')}": metadata.version(name)
            for name in ("sacremoses", "subword-nmt", "sentencepiece")
        }
        return any(self.settings.get(key, version) != version for key, version in versions.items())


def _join_unknowns(line: str) -> str:
    """fairseq marks what is unknown in a reference apart from what a model does not know."""
    return line.replace("<<unk>>", "<unk>")


def read_references(data: Path, split: str) -> list[References]:
    """Reads the references of a split: the target's, and the source's where they were kept.

    Raises:
        PruningError: the folder is not one that ``data-prep/`` made, or it is damaged.
    """
    try:
        settings = read_settings(data)
        texts = {
            side: (data / "raw" / f"{split}.{ending}").read_text(encoding="utf-8")
            for side, ending in SIDES.items()
            if side == "target" or (data / "raw" / f"{split}.{ending}").is_file()
        }
    except (OSError, ValueError, TextError) as error:
        raise PruningError(
            f"{data} is not a folder that data-prep/ made ({error}): BLEU of plain text needs the "
            "references that it keeps there"
        ) from None
    for key in ("subword", "target", "tokenized", "lowercase"):
        if key not in settings:
            raise PruningError(
                f"{data / SETTINGS_FILE} is damaged ({key!r}): prepare the data again"
            )
    return [
        References(
            data,
            split,
            side,
            settings,
            ["" if is_blank(line) else line for line in text.removesuffix("\n").split("\n")],
        )
        for side, text in texts.items()
        if side in settings
    ]


def _references_of(output: Generated, known: Sequence[References]) -> tuple[References, list[int]]:
    """The references that an output was made with, or those of which the fewest lines differ.

    Returns:
        the references, and the positions in the output of those that differ.
    """
    found = None
    for references in known:
        differences = references.differences(output)
        if found is None or len(differences) < len(found[1]):
            found = references, differences
        if not differences:
            break
    assert found is not None
    return found


def _check_length(output: Generated, known: Sequence[References]) -> None:
    """Checks that an output has as many sentences as the references.

    Raises:
        PruningError: it has not.
    """
    data, split, count = known[0].data, known[0].split, len(known[0].lines)
    if len(output.numbers) != count:
        reason = (
            "fairseq-generate leaves out the last incomplete batch unless it is given "
            "--required-batch-size-multiple 1"
            if len(output.numbers) < count
            else "it was made from another split or other data; --split says which"
        )
        raise PruningError(
            f"{output.path} has {len(output.numbers)} sentences, the {split} split of {data} has "
            f"{count}: {reason}"
        )
    # As many, but not these.
    missing = sorted(set(range(count)) - set(output.numbers))
    if missing:
        raise PruningError(f"{output.path} is incomplete: it has no T-{missing[0]}")


def check_references(output: Generated, known: Sequence[References]) -> References:
    """The references that an output was made with.

    Raises:
        PruningError: it has another number of sentences, or references of other data.
    """
    _check_length(output, known)
    references, differences = _references_of(output, known)
    if differences:
        number, text = output.numbers[differences[0]], output.references[differences[0]]
        file = references.data / "raw" / f"{references.split}.{SIDES[references.side]}"
        raise PruningError(
            f"the references (T-) in {output.path} are not those of the {references.split} split "
            f"of {references.data}: line {text.line}, T-{number}, has {text.tokens[:60]!r}, and "
            f"line {number + 1} of {file} has {references.lines[number][:60]!r}"
        )
    return references
