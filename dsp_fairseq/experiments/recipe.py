"""Recipes: YAML files that say how a model is made, and the commands that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import PruningError
from ..pruning.flags import PruningConfig

Flags = dict[str, "str | bool"]
"""Flags of a fairseq command by their long names without dashes; True is a flag without a value."""


@dataclass(frozen=True)
class Recipe:
    """How a model is made: data, training, evaluation.

    Paths are relative to the folder in which the commands are given.

    Attributes:
        name: of the recipe; a run's default folder has it.
        data: folder of binarised data.
        train: flags of fairseq-train.
        prepare: the command that makes ``data``.
        generate: flags of fairseq-generate.
        evaluate: the splits to be translated and scored.
        processes: how many processes train one model, started by torchrun if there are several.
        start: checkpoint whose weights training starts from.
        make_start: the command that makes ``start``.
        score: flags of dsp-score-heads, if the heads of ``start`` are chosen without training.
        folder: where the run is kept (default: ``runs/NAME/kK-sSEED``).
    """

    name: str
    data: str
    train: Flags
    prepare: str = ""
    generate: Flags = field(default_factory=dict)
    evaluate: tuple[str, ...] = ("valid", "test")
    processes: int = 1
    start: str | None = None
    make_start: str = ""
    score: Flags | None = None
    folder: str | None = None

    def with_train(self, flags: Mapping[str, Any]) -> Recipe:
        """The same recipe with other training flags; None takes one away."""
        return replace(self, train=merge_flags(self.train, flags))

    def with_generate(self, flags: Mapping[str, Any]) -> Recipe:
        """The same recipe with other flags of generation; None takes one away."""
        return replace(self, generate=merge_flags(self.generate, flags))

    @property
    def budget(self) -> str | None:
        """K as the flag says it."""
        return _text(self.train.get("num-of-heads"))

    @property
    def budgets(self) -> list[str]:
        """The values of K that one training serves; most often there is one."""
        return [part.strip() for part in (self.budget or "").split(",")]

    @property
    def seed(self) -> int:
        """The seed of everything.

        Raises:
            PruningError: the flag is no number.
        """
        text = str(self.train.get("seed", 1))
        if not text.isdecimal():
            raise PruningError(f"recipe {self.name}: seed {text!r} is not a whole number from 0 on")
        return int(text)

    @property
    def method(self) -> str:
        """How heads are chosen, in one word."""
        if self.score is not None:
            return str(self.score.get("method", "score"))
        return str(self.train.get("gate-estimator", PruningConfig().gate_estimator))

    def settings(self) -> dict[str, Any]:
        """All that decides the outcome, as plain YAML types."""
        plain = {_dashed(name): value for name, value in asdict(self).items()}
        plain["evaluate"] = list(self.evaluate)
        return {k: v for k, v in plain.items() if k != "folder" and v not in (None, "")}


_MAPPINGS = ("train", "generate", "score")
_KEYS = {field.name.replace("_", "-") for field in fields(Recipe)}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


# ---- reading


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        PruningError: no such file, or one that holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    except yaml.YAMLError as error:
        raise PruningError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise PruningError(f"{path} must hold 'key: value' lines")
    return content


def load_recipe(path: Path) -> Recipe:
    """Reads a recipe and what it ``extends``.

    Raises:
        PruningError: a file that cannot be read, an unknown key, or one that is missing.
    """
    return parse_recipe(_read_extended(path, ()), path)


def _read_extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise PruningError(f"{path} extends itself")
    own = load_yaml(path)
    base = own.pop("extends", None)
    if base is None:
        return own
    merged = _read_extended(path.parent / str(base), (*seen, path.resolve()))
    for key, value in own.items():
        if key in _MAPPINGS and isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


def parse_recipe(content: Mapping[str, Any], path: Path) -> Recipe:
    """A recipe from what its file holds; ``path`` is for messages.

    Raises:
        PruningError: an unknown key, a missing one, or a value of another kind.
    """
    unknown = sorted(set(content) - _KEYS)
    if unknown:
        raise PruningError(
            f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}"
        )
    for key in ("name", "data", "train"):
        if not content.get(key):
            raise PruningError(f"{path}: '{key}' is missing")
    for key in _MAPPINGS:
        if not isinstance(content.get(key) or {}, dict):
            raise PruningError(f"{path}: '{key}' must hold 'flag: value' lines")
    evaluate = content.get("evaluate", ["valid", "test"])
    if not isinstance(evaluate, list) or not set(evaluate) <= {"valid", "test"}:
        raise PruningError(f"{path}: 'evaluate' must be a list of valid and test, not {evaluate!r}")
    processes = content.get("processes", 1)
    if not isinstance(processes, int) or processes < 1:
        raise PruningError(f"{path}: 'processes' must be a number from 1 on, not {processes!r}")
    score = content.get("score")
    return Recipe(
        name=str(content["name"]),
        data=str(content["data"]),
        train=merge_flags({}, content["train"]),
        prepare=str(content.get("prepare") or ""),
        generate=merge_flags({}, content.get("generate") or {}),
        evaluate=tuple(evaluate),
        processes=processes,
        start=_text(content.get("start")),
        make_start=str(content.get("make-start") or ""),
        score=None if score is None else merge_flags({}, score),
        folder=_text(content.get("folder")),
    )


def merge_flags(flags: Mapping[str, Any], more: Mapping[str, Any]) -> Flags:
    """Flags with others added or replaced; values become text, and None takes a flag away."""
    merged = dict(flags)
    for name, value in more.items():
        name = str(name).lstrip("-").replace("_", "-")
        merged.pop(name, None)
        if value is not None:
            merged[name] = value if isinstance(value, bool) else " ".join(str(value).split())
    return merged


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """``flag=value`` as given to ``--set``; true is a flag without a value, false takes it away.

    Raises:
        PruningError: a text of another form.
    """
    special = {"true": True, "false": None, "": None}
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise PruningError(f"--set {text}: write FLAG=VALUE, as in --set max-update=500")
        values[name] = special.get(value.lower(), value)
    return values
