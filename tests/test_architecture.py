"""The rooms of the package: imports run one way, and the mathematics knows torch only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dsp_fairseq"

ROOMS = (
    "about",
    "errors",
    "files",
    "progress",
    "user_package",
    "estimators",
    "modules",
    "heads",
    "data",
    "checkpoints",
    "pruning",
    "tasks",
    "models",
    "imports",
    "analysis",
    "evaluation",
    "export",
    "experiments",
    "report",
    "cli",
    "__init__",
    "__main__",
)
"""From the ground up: a room may import from those before it, and from itself."""


def _modules() -> dict[str, Path]:
    files = PACKAGE.rglob("*.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def _imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of this package that a module names, inside functions too."""
    folder = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.ImportFrom) and node.level):
            continue
        base = folder[: len(folder) - node.level + 1] + (node.module or "").split(".")
        base = [part for part in base if part]
        for alias in node.names:
            candidates = [base, [*base, alias.name], [*base, "__init__"]]
            named = [".".join(parts) for parts in candidates if ".".join(parts) in known]
            yield from (other for other in named if other != name)


@cache
def _graph() -> dict[str, set[str]]:
    known = _modules()
    return {name: set(_imports(name, path, known)) for name, path in known.items()}


@pytest.mark.parametrize("name", sorted(_modules()))
def test_no_import_goes_up(name):
    own = ROOMS.index(name.split(".")[0])
    above = {other for other in _graph()[name] if ROOMS.index(other.split(".")[0]) > own}
    assert not above


def _documented_rooms() -> dict[str, str]:
    """Room -> what docs/code.md says about it."""
    page = (PACKAGE.parent / "docs/code.md").read_text(encoding="utf-8")
    table = page.partition("## The package")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)(?:/|\.py)` \| (.*) \|$", table, re.MULTILINE))


def test_the_documentation_lists_the_rooms_in_their_order():
    assert tuple(_documented_rooms()) == ROOMS


def test_every_file_has_its_place_in_the_documentation():
    for room, row in _documented_rooms().items():
        named = set(re.findall(r"`(\w+)\.py`", row))
        there = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
        assert named == there or room in ("cli", "estimators"), room


def test_no_imports_go_in_a_circle():
    graph, done = _graph(), set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _chains() -> dict[str, tuple[str, ...]]:
    """Per module the longest chain of imports that leads down from it, itself at its end."""
    graph, chains = _graph(), {}

    def chain(name: str) -> tuple[str, ...]:
        if name not in chains:
            below = max((chain(other) for other in graph[name]), key=len, default=())
            chains[name] = (*below, name)
        return chains[name]

    return {name: chain(name) for name in graph}


def test_the_house_has_nine_floors_at_most():
    highest = max(_chains().values(), key=len)
    assert len(highest) <= 9, " -> ".join(highest)


def test_no_function_is_longer_than_sixty_lines():
    long = [
        f"{name}.{node.name}"
        for name, path in _modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert not long


def test_every_module_has_a_test_file_of_its_name():
    """Commands have one for each of their subjects."""
    tests = Path(__file__).parent
    missing = []
    for name, path in _modules().items():
        *rooms, _ = name.split(".")
        stem = path.stem.strip("_") + ("*" if rooms == ["cli"] else "")
        if path.name != "__init__.py" and not [*tests.joinpath(*rooms).glob(f"test_{stem}.py")]:
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("path", sorted((PACKAGE / "estimators").glob("*.py")))
def test_the_mathematics_imports_torch_only(path):
    standard = {"__future__", "collections", "dataclasses", "fractions", "functools", "math"}
    allowed = {*standard, "torch", "typing"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").split(".")[0] in allowed
