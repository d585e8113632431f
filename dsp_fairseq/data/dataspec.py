"""How a model's data is read: the task, and what it was told of direction, padding and lengths."""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fairseq.data.data_utils import batch_by_size, infer_language_pair, load_indexed_dataset
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.translation import TranslationConfig
from fairseq.utils import split_paths

from ..errors import PruningError, one_line

_UNREADABLE = (OSError, ValueError, AssertionError, struct.error)
"""What fairseq raises where a file of binarised data is missing, empty or damaged."""

_TASK = "translation"
_READING = (
    *("source_lang", "target_lang", "left_pad_source", "left_pad_target", "max_source_positions"),
    *("max_target_positions", "truncate_source", "dataset_impl"),
)
"""The flags of the task that decide what a model reads."""


@dataclass(frozen=True)
class DataSpec:
    """How the data of a model is read; whoever reads data for a model asks it.

    Attributes:
        task: fairseq's task.
        flags: the flags of the translation task that decide what is read, other than its defaults.
    """

    task: str
    flags: Mapping[str, Any]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> DataSpec:
        """From the ``task`` group of a checkpoint's configuration, or from all flags in one."""
        defaults = TranslationConfig()
        task = config.get("_name") or config.get("task") or _TASK
        read = {name: config.get(name, getattr(defaults, name)) for name in _READING}
        # An interpolation is what nobody has set.
        changed = {
            name: value
            for name, value in read.items()
            if value != getattr(defaults, name) and not str(value).startswith("${")
        }
        return cls(str(task), {name: v for name, v in changed.items() if v is not None})

    @classmethod
    def of_command(cls, words: Sequence[str]) -> DataSpec:
        """From the flags of fairseq-train or fairseq-generate."""
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument("--task")
        parser.add_argument("--dataset-impl")
        gen_parser_from_dataclass(parser, TranslationConfig())
        args, _ = parser.parse_known_args(["", *words])
        return cls.of(vars(args))

    @property
    def is_translation(self) -> bool:
        """Whether the data is pairs of sentences as fairseq's translation task reads them."""
        return self.task == _TASK

    def arguments(self) -> dict[str, str | bool]:
        """The flags for another command; True is a flag without a value."""
        # fairseq's --left-pad-source turns off what is on otherwise.
        return {
            name.replace("_", "-"): True if isinstance(value, bool) else str(value)
            for name, value in self.flags.items()
        }

    def direction(self, folder: Path) -> tuple[str, str]:
        """Source and target language.

        Args:
            folder: of the data, whose file names say the languages where no flag does.

        Raises:
            PruningError: there is no such folder, language or dictionary.
        """
        if not folder.is_dir():
            raise PruningError(f"there is no data folder {folder}: prepare the data first")
        check_dictionaries(folder)
        given: list[Any] = [self.flags.get("source_lang"), self.flags.get("target_lang")]
        found = list(infer_language_pair(str(folder)))
        languages = found if None in given else given
        if None in languages:
            raise PruningError(f"{folder} holds no binarised text: prepare the data again")
        for language in filter(None, (*given, *languages)):
            if not (folder / f"dict.{language}.txt").is_file():
                known = ", ".join(_languages(folder))
                raise PruningError(
                    f"{folder} has no dictionary of {language!r} (dict.{language}.txt), only of "
                    f"{known}: correct --source-lang and --target-lang, or prepare the data again"
                )
        if any(one not in (None, other) for one, other in zip(given, languages, strict=True)):
            raise PruningError(
                f"--source-lang and --target-lang belong together: with one of them fairseq would "
                f"take {' to '.join(found)}, as the files in {folder} are named"
            )
        return languages[0], languages[1]

    def check_split(self, folder: Path, split: str) -> Path:
        """Checks that there is a split; returns what the names of its files begin with.

        Raises:
            PruningError: there is no such folder, language, dictionary or split.
        """
        source, target = self.direction(folder)
        for pair in (f"{source}-{target}", f"{target}-{source}"):
            if any(folder.glob(f"{split}.{pair}.{source}*")):
                return folder / f"{split}.{pair}"
        raise PruningError(
            f"{folder} has no {split} split of {source} and {target} ({split}.{source}-{target}.*):"
            " prepare the data again"
        )

    def check_lengths(self, folder: Path, split: str) -> None:
        """Checks that no sentence of a split is too long for the model.

        Raises:
            PruningError: one is, and would not be translated.
        """
        for side, sizes in zip(("source", "target"), self._sizes(folder, split), strict=True):
            flag = f"max_{side}_positions"
            most = self.flags.get(flag, getattr(TranslationConfig(), flag))
            if side == "source" and self.flags.get("truncate_source"):
                continue
            longest = int(sizes.max())
            if longest > most:
                raise PruningError(
                    f"the {split} split of {folder} has a {side} sentence of {longest} tokens, "
                    f"more than --{flag.replace('_', '-')} {most}: it could not be translated; "
                    "raise that, or leave the sentence out of the data"
                )

    def count_batches(
        self,
        folder: Path,
        split: str,
        max_tokens: int | None,
        max_sentences: int | None,
        multiple: int = 1,
    ) -> int | None:
        """How many batches fairseq makes of a split; None where a sentence is above max_tokens.

        Args:
            folder: of the data.
            split: such as ``train``.
            max_tokens, max_sentences, multiple: the flags that say how large a batch is.
        """
        source, target = self._sizes(folder, split)
        order = np.lexsort((target, source))
        tokens = np.maximum(source, target)[order]
        try:
            return len(
                batch_by_size(
                    *(np.arange(len(order)), None, tokens),
                    max_tokens=max_tokens,
                    max_sentences=max_sentences,
                    required_batch_size_multiple=multiple,
                )
            )
        except AssertionError:
            return None

    def _sizes(self, folder: Path, split: str) -> list[np.ndarray]:
        """The lengths of all source sentences, and those of all target sentences."""
        prefix, impl = self.check_split(folder, split), self.flags.get("dataset_impl")
        sides = []
        for language in self.direction(folder):
            with refuse_unreadable(folder, split):
                lines = load_indexed_dataset(f"{prefix}.{language}", dataset_impl=impl)
            # A copy: the lengths are in a file that closes with the dataset.
            sides.append(np.array(lines.sizes, np.int64))
        return sides


@contextmanager
def refuse_unreadable(folder: Path | str, split: str) -> Iterator[None]:
    """Inside, a split is read.

    Raises:
        PruningError: a file of it is missing, empty or damaged.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise PruningError(
            f"{folder} has no {split} split that fairseq can read: {one_line(error)}"
        ) from None


def config_of(task: Any) -> Mapping[str, Any]:
    """A task's configuration; fairseq's older tasks have arguments instead."""
    config = getattr(task, "cfg", None) or getattr(task, "args", None) or {}
    return config if isinstance(config, Mapping) else vars(config)


def data_of(task: Any) -> str:
    """The folders that a task reads, empty for none."""
    return str(config_of(task).get("data") or "")


def data_folders(paths: str) -> list[Path]:
    """The folders of ``DATA:DATA...``; the first has validation and test."""
    return [Path(path) for path in split_paths(paths)]


def check_dictionaries(folder: Path) -> None:
    """Checks that a folder has dictionaries.

    Raises:
        PruningError: it has none.
    """
    if not _languages(folder):
        raise PruningError(f"{folder} holds no dictionaries (dict.*.txt): prepare the data again")


def _languages(folder: Path) -> list[str]:
    names = (path.name for path in folder.glob("dict.*.txt"))
    return sorted(name.removeprefix("dict.").removesuffix(".txt") for name in names)


def own_task(name: str) -> str:
    """The task of this package in place of one of fairseq's, where there is one: it checks more."""
    own = f"dsp_{name}"
    return own if own in TASK_REGISTRY else name


def refuse_other_data(stored: Mapping[str, Any], task: Any) -> None:
    """Has a task compare its data with what a checkpoint stored of its own.

    fairseq does so only where it loads a model for evaluation.

    Raises:
        PruningError: they are different.
    """
    if hasattr(task, "refuse_other"):
        task.refuse_other(stored)


def refuse_other_start(stored: Mapping[str, Any], task: Any, new_task: bool) -> None:
    """As :func:`refuse_other_data`, of the checkpoint that a training starts from.

    Args:
        stored: what the checkpoint stored of its data.
        task: of this training.
        new_task: whether all weights may learn another task than that of the checkpoint.

    Raises:
        PruningError: the data are others, and the task does not allow it.
    """
    if hasattr(task, "refuse_other_start"):
        task.refuse_other_start(stored, new_task)


def refuse_other_symbols(model: Path, config: Mapping[str, Any], task: Any) -> None:
    """As :func:`refuse_other_dictionaries`, of the data of a task."""
    if isinstance(path := config_of(task).get("data"), str) and path:
        refuse_other_dictionaries(model, config, data_folders(path)[0])


def refuse_other_dictionaries(model: Path, config: Mapping[str, Any], own: Path) -> None:
    """Compares the dictionaries that a model was trained with, where they are still there.

    The same number of other symbols fits the weights, and means something else.

    Args:
        model: its checkpoint.
        config: of the task that it was trained with.
        own: the folder whose dictionaries it is to be used with.

    Raises:
        PruningError: one of them has other symbols, or has them in another order.
    """
    trained_on = config.get("data")
    if not (isinstance(trained_on, str) and trained_on):
        return
    folder, spec = data_folders(trained_on)[0], DataSpec.of(config)
    paths = sorted(own.glob("dict*.txt"))
    if spec.is_translation:
        with suppress(PruningError):  # of other languages
            paths = [own / f"dict.{language}.txt" for language in spec.direction(own)]
    for path in paths:
        other = folder / path.name
        if other.is_file() and symbols_of(other) != symbols_of(path):
            raise PruningError(
                f"{model} was trained with the dictionary {other}, and {path} has other symbols or "
                "another order of them: its embeddings need the same (if that folder is another "
                "one by now, rename it)"
            )


def symbols_of(dictionary: Path) -> list[str]:
    """The symbols in a file that fairseq-preprocess wrote."""
    lines = dictionary.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.rpartition(" ")[0] for line in lines]
