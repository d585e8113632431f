"""Recipes: YAML files that say how a model is made."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..about import USER_DIR
from ..errors import PruningError, one_line

Flags = dict[str, "str | bool"]
"""Flags of a command by their long names without dashes; True is a flag without a value."""

_FLAGS = ("train", "generate", "rank")
_Schema = TypeVar("_Schema")


@dataclass(frozen=True)
class Recipe:
    """How a model is made: data, training, evaluation. Its YAML file has these keys.

    Paths are relative to the folder in which the commands are given.

    Attributes:
        name: of the recipe; a run's default folder has it.
        data: folder of binarised data.
        train: flags of fairseq-train.
        prepare: the command that makes ``data``.
        generate: flags of fairseq-generate; for translation only.
        evaluate: the splits to be evaluated.
        processes: how many processes train one model, started by torchrun if there are several.
        start: checkpoint whose weights training starts from.
        make_start: the command that makes ``start``, or the teacher of ``--distill-from``.
        rank: flags of dsp-rank-heads, if the heads of ``start`` are chosen without training.
        user_dir: folder of a package that is given as ``--user-dir`` in place of this one, which it
            imports.
        folder: where the run is kept (default: ``runs/NAME/kK-sSEED``, or ``cC`` for a budget in
            cost).
    """

    name: str
    data: str
    train: dict[str, Any]
    prepare: str = ""
    generate: dict[str, Any] = field(default_factory=dict)
    evaluate: list[str] = field(default_factory=lambda: ["valid", "test"])
    processes: int = 1
    start: str | None = None
    make_start: str = ""
    rank: dict[str, Any] | None = None
    user_dir: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        if {*self.evaluate} not in ({"valid"}, {"test"}, {"valid", "test"}):
            raise PruningError(
                f"'evaluate' must be a list of valid and test, not {self.evaluate!r}"
            )
        if self.processes < 1:
            raise PruningError(f"'processes' must be 1 or more, not {self.processes}")
        if self.user_dir is not None and Path(self.user_dir).resolve() == USER_DIR:
            object.__setattr__(self, "user_dir", None)
        for name in _FLAGS:
            if (flags := getattr(self, name)) is not None:
                object.__setattr__(self, name, merge_flags({}, flags))

    def with_train(self, flags: Mapping[str, Any]) -> Recipe:
        """The same recipe with other training flags; None takes one away."""
        return replace(self, train=merge_flags(self.train, flags))

    def with_generate(self, flags: Mapping[str, Any]) -> Recipe:
        """The same recipe with other flags of generation; None takes one away."""
        return replace(self, generate=merge_flags(self.generate, flags))

    def with_package(self, folder: str | None) -> Recipe:
        """The same recipe with another package for ``--user-dir``; None leaves it as it is."""
        return self if folder is None else replace(self, user_dir=folder)

    @property
    def package(self) -> str:
        """What fairseq's commands get as ``--user-dir``."""
        return self.user_dir or str(USER_DIR)

    def own_package(self) -> Flags:
        """The flag of the user's own package, where there is one, for this package's commands."""
        return {} if self.user_dir is None else {"user-dir": self.user_dir}

    @property
    def own_folder(self) -> Path | None:
        """The whole path of the user's own package, where there is one."""
        return None if self.user_dir is None else Path(os.path.abspath(self.user_dir))

    @property
    def budget(self) -> str | None:
        """K as the flag says it."""
        return self.train.get("num-of-heads")

    @property
    def cost_budget(self) -> str | None:
        """C as the flag says it, where the budget is in cost."""
        return self.train.get("cost-budget")

    @property
    def budgets(self) -> list[str]:
        """The values of K that one training serves; most often there is one."""
        return [part.strip() for part in (self.budget or "").split(",")]

    @property
    def teacher(self) -> str | None:
        """The checkpoint that is learned from, as the flag says it."""
        return self.train.get("distill-from")

    @property
    def seed(self) -> int:
        """The seed of everything.

        Raises:
            PruningError: the flag is no number.
        """
        text = str(self.train.get("seed", 1))
        if not text.isdecimal():
            raise PruningError(
                f"recipe {self.name}: seed {text!r} is not a whole number, 0 or more"
            )
        return int(text)

    def settings(self) -> dict[str, Any]:
        """All that decides the outcome, as plain YAML types."""
        plain = {
            name.replace("_", "-"): value
            for name, value in asdict(self).items()
            if name != "folder"
        }
        return {name: value for name, value in plain.items() if value not in (None, "")}

    def differences(self, other: Recipe) -> list[tuple[str, Any, Any]]:
        """The settings by which two recipes decide otherwise: name, value here, value there."""
        here, there = self._deciding(), other._deciding()
        return [
            (name[1], here.get(name), there.get(name))
            for name in sorted({*here, *there})
            if _spelled(here.get(name)) != _spelled(there.get(name))
        ]

    def evaluation(self) -> dict[str, str]:
        """The flags of the evaluation that decide what it gives, for comparing it."""
        flags = {"beam": "5", **self.generate}  # fairseq's default
        return {
            name: _spelled(value)
            for name, value in sorted(flags.items())
            if name not in _OUTPUT_IS_THE_SAME
        }

    def _deciding(self) -> dict[tuple[str, str], Any]:
        """By the key of the recipe and the name of the flag."""
        settings = {
            key: value if isinstance(value, dict) else {key: value}
            for key, value in self.settings().items()
            if key not in ("name", "prepare", "make-start")
        }
        if (folder := self.own_folder) is not None:
            settings["user-dir"] = {"user-dir": str(folder)}
        return {(key, flag): v for key, flags in settings.items() for flag, v in flags.items()}


_OUTPUT_IS_THE_SAME = ("batch-size", "max-tokens", "num-workers", "quiet", "log-format")
"""Flags of an evaluation that change its speed or its log."""


def _spelled(value: Any) -> str:
    """The text of a value; a number's spelling is one, however a file has it."""
    if not isinstance(value, bool):
        with suppress(TypeError, ValueError):
            return repr(float(value)).removesuffix(".0")
    return str(value)


def dashed(name: str) -> str:
    """The name of a flag, without the dashes before it."""
    return str(name).lstrip("-").replace("_", "-")


# ---- flags


def merge_flags(flags: Mapping[str, Any], more: Mapping[str, Any]) -> Flags:
    """Flags with others added or replaced; values become text, and None takes a flag away.

    A list becomes its items with commas between them, which is how fairseq's flags have lists.

    Raises:
        PruningError: a value that is no text.
    """
    merged = dict(flags)
    for name, value in more.items():
        name = dashed(name)
        merged.pop(name, None)
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            raise PruningError(f"the value of '{name}' must be text, in quotes, not {value!r}")
        if value is not None:
            text = " ".join(",".join(map(str, items)).split())
            merged[name] = value if isinstance(value, bool) else text
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


# ---- files


def load_recipe(path: Path) -> Recipe:
    """Reads a recipe and what it ``extends``.

    Raises:
        PruningError: a file that cannot be read, an unknown key, or one that is missing.
    """
    parts: list[dict[str, Any]] = []
    seen: list[Path] = []
    file: Path | None = path
    while file is not None:
        if file.resolve() in seen:
            raise PruningError(f"{file} extends itself")
        seen.append(file.resolve())
        own = read_yaml(file)
        base = own.pop("extends", None)
        parts.insert(0, _settle_names(own))
        file = None if base is None else file.parent / str(base)
    try:
        merged: Any = OmegaConf.to_container(OmegaConf.merge(*parts))
    except (OmegaConfBaseException, RecursionError) as error:
        raise PruningError(f"{path} has an invalid value: {one_line(error)}") from None
    return read_as(Recipe, merged, path)


def _settle_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same content under the names that keys and flags have today."""
    result = {"rank" if name == "score" else name: value for name, value in content.items()}
    for name in _FLAGS:
        if isinstance(flags := result.get(name), dict):
            result[name] = {dashed(flag): value for flag, value in flags.items()}
            if len(result[name]) < len(flags):
                names = list(map(dashed, flags))
                twice = next(flag for flag in names if names.count(flag) > 1)
                raise PruningError(f"'{name}' names {twice} twice, in two spellings")
    return result


# ---- YAML


class _TextLoader(yaml.SafeLoader):
    """YAML in which a value is text as it is written, but for true, false and null.

    YAML 1.1 would read the language ``no`` as false, ``012`` as 10 and ``1:30`` as 90.
    """

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        names = [name.value for name, _ in pairs if name.tag.endswith(":str")]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"it names {twice[0]!r} twice")
        return super().construct_mapping(node, deep)


for _tag, _words, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _TextLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_words})$"), list(_first)
    )


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = _TextLoader) -> dict[str, Any]:
    """A YAML file that holds a mapping; values are text, but for true, false and null.

    Args:
        path: the file.
        loader: yaml's own, where values are to have the types that YAML gives them.

    Raises:
        PruningError: no such file, or one that holds something else.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        raise PruningError(f"cannot read {path}: {reason}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise PruningError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise PruningError(f"{path} must hold 'key: value' lines")
    return {str(name): value for name, value in content.items()}


_KINDS = {
    "dict": "hold 'flag: value' lines",
    "list[int]": "be a list of whole numbers",
    "list": "be a list",
    "int": "be a whole number",
    "str": "be text",
}
"""What a value must do or be, by how its type begins."""


def read_as(schema: type[_Schema], content: Mapping[str, Any], path: Path | str) -> _Schema:
    """An object of a dataclass from what a YAML file holds.

    Args:
        schema: the dataclass; its types are checked, and what its constructor refuses is refused.
        content: what the file holds; a key of null counts as one that is not there.
        path: of the file, and perhaps the place in it, for messages.

    Raises:
        PruningError: an unknown key, a missing one, or a value that will not do.
    """
    content = _settle_names(content)
    known = {item.name.replace("_", "-"): item for item in fields(schema)}  # type: ignore[arg-type]
    if unknown := sorted(set(content) - set(known)):
        names = ", ".join(sorted(known))
        raise PruningError(f"{path}: unknown key {unknown[0]!r}; known are {names}")
    types, values = OmegaConf.structured(schema), {}
    for name, item in known.items():
        value = content.get(name)
        if not value and item.default is item.default_factory is MISSING:
            raise PruningError(f"{path}: '{name}' is missing")
        if value is None:
            continue
        try:
            merged = OmegaConf.merge(types, {item.name: value})
            # Text may hold OmegaConf's ${...}, which stands for itself here.
            is_text = str(item.type).startswith(("str", "dict"))
            typed: Any = OmegaConf.to_container(merged, resolve=not is_text)
        except (OmegaConfBaseException, RecursionError):
            must = next(text for kind, text in _KINDS.items() if str(item.type).startswith(kind))
            raise PruningError(f"{path}: '{name}' must {must}, not {value!r}") from None
        values[item.name] = typed[item.name]
    try:
        for name in _FLAGS:
            merge_flags({}, values.get(name) or {})  # refuses what is no text
        return schema(**values)
    except PruningError as error:
        raise PruningError(f"{path}: {error.message}") from None
