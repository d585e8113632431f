"""A folder of binarised data, looked at before fairseq reads it: its own errors are tracebacks."""

from __future__ import annotations

from pathlib import Path

from fairseq.data.data_utils import infer_language_pair

from ..errors import PruningError


def check_dictionaries(folder: Path) -> None:
    """Checks that a folder has dictionaries.

    Raises:
        PruningError: it has none.
    """
    if not _languages(folder):
        raise PruningError(f"{folder} holds no dictionaries (dict.*.txt): prepare the data again")


def check_corpus(folder: Path, source: str | None, target: str | None, split: str) -> None:
    """Checks what fairseq's translation task is going to read.

    Args:
        folder: where ``fairseq-preprocess`` wrote.
        source, target: languages; None is found out as fairseq does it, by the names of files.
        split: such as ``train``.

    Raises:
        PruningError: there is no such folder, language, dictionary or split.
    """
    if not folder.is_dir():
        raise PruningError(f"there is no data folder {folder}: prepare the data first")
    check_dictionaries(folder)
    if source is None or target is None:
        found = infer_language_pair(str(folder))
        source, target = source or found[0], target or found[1]
    if source is None or target is None:
        raise PruningError(f"{folder} holds no binarised text: prepare the data again")
    for language in (source, target):
        if not (folder / f"dict.{language}.txt").is_file():
            known = ", ".join(_languages(folder))
            raise PruningError(
                f"{folder} has no dictionary of {language!r} (dict.{language}.txt), only of "
                f"{known}: mend --source-lang and --target-lang, or prepare the data again"
            )
    pairs = (f"{source}-{target}", f"{target}-{source}")
    if not any(any(folder.glob(f"{split}.{pair}.{source}*")) for pair in pairs):
        raise PruningError(
            f"{folder} has no {split} split of {source} and {target} ({split}.{pairs[0]}.*): "
            "prepare the data again"
        )


def _languages(folder: Path) -> list[str]:
    names = (path.name for path in folder.glob("dict.*.txt"))
    return sorted(name.removeprefix("dict.").removesuffix(".txt") for name in names)
