"""A grid file, and the runs that it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import PruningError
from .recipe import Recipe, dashed, load_recipe, read_as, read_yaml
from .results import DENSE
from .run import BEST, Run, default_folder, targets_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_AXES = {"num-of-heads": "budgets", "cost-budget": "budgets", "seed": "seeds"}
"""Flags that differ by run, and the key of a grid that holds their values."""


@dataclass(frozen=True)
class Method:
    """How heads are chosen.

    Attributes:
        train: training flags.
        rank: flags of dsp-rank-heads, if heads are chosen without training.
        budgets: ``all`` if one training serves all budgets.
    """

    train: dict[str, Any] = field(default_factory=dict)
    rank: dict[str, Any] | None = None
    budgets: Any = None

    def __post_init__(self) -> None:
        if self.budgets not in (None, "all"):
            raise PruningError(f"'budgets' can only be 'all', not {self.budgets!r}")


@dataclass(frozen=True)
class _DenseFile:
    recipe: str
    folder: str | None = None
    train: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _GridFile:
    recipe: str
    folder: str
    methods: dict[str, Any]
    budgets: list[int]
    seeds: list[int]
    dense: Any = None
    train: dict[str, Any] = field(default_factory=dict)
    generate: dict[str, Any] = field(default_factory=dict)
    submitit: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, flags in self.methods.items():
            if name == DENSE or not _NAME.fullmatch(name) or not isinstance(flags or {}, dict):
                raise PruningError(
                    "'methods' must hold 'name: {flag: value}' lines, with names of letters, "
                    f"digits and -_. other than {DENSE}"
                )
        for key in ("budgets", "seeds"):
            numbers = getattr(self, key)
            if min(numbers) < 0:
                raise PruningError(f"'{key}' must be a list of whole numbers, not {numbers!r}")
            if len(set(numbers)) != len(numbers):
                raise PruningError(f"'{key}' has a number twice")


@dataclass(frozen=True)
class Grid:
    """What a grid file says.

    Attributes:
        recipe: what every run is made by.
        folder: where the runs are kept.
        methods: by name.
        budgets: values of K; of C for methods with ``head-costs``.
        seeds: seeds of the runs.
        dense: the dense run of the same recipe, if the sweep is to make it too.
        dense_folder: where the dense run is; runs that start from a checkpoint start from its, and
            those with a teacher learn from it.
        submitit: parameters of submitit's executor.
    """

    recipe: Recipe
    folder: Path
    methods: Mapping[str, Method]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    dense: Run | None = None
    dense_folder: Path | None = None
    submitit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        id: its name, which is that of its folder.
        method: the name of its method in the grid.
        run: what to run.
        results: the name of each result, one a budget, and its folder.
    """

    id: str
    method: str
    run: Run
    results: tuple[tuple[str, Path], ...]


def load_grid(path: Path, threads: int = 1, package: str | None = None) -> Grid:
    """Reads a grid file; paths in it are relative to the folder in which the command is given.

    Args:
        path: the file.
        threads: CPU threads of each process.
        package: folder of a package for ``--user-dir`` in place of the recipes' own.

    Raises:
        PruningError: a file that cannot be read, an unknown key, one that is missing, or a value of
            another kind.
    """
    file = read_as(_GridFile, read_yaml(path), path)
    _refuse_axes(file.train, f"{path}: 'train'")
    recipe = _recipe(file.recipe, file, package).with_train(file.train)
    _refuse_axes(recipe.rank or {}, f"{file.recipe}: 'rank'")
    dense, dense_folder = _dense(file, path, threads, package)
    for made in (recipe, *([dense.recipe] if dense else [])):
        if "test" not in made.evaluate:
            raise PruningError(
                f"{path}: recipe {made.name} does not evaluate test, which a report is of: add it "
                "to 'evaluate'"
            )
    if dense_folder is not None:
        best = str(dense_folder / BEST)
        if recipe.start is not None:
            recipe = replace(recipe, start=best)
        if recipe.teacher is not None:
            recipe = recipe.with_train({"distill-from": best})
    return Grid(
        recipe,
        Path(file.folder),
        {
            name: _method(flags or {}, f"{path}, method {name}")
            for name, flags in file.methods.items()
        },
        tuple(map(str, file.budgets)),
        tuple(file.seeds),
        dense,
        dense_folder,
        # Its parameters have types.
        read_yaml(path, yaml.SafeLoader).get("submitit") or {},
    )


def _recipe(path: str, file: _GridFile, package: str | None) -> Recipe:
    return load_recipe(Path(path)).with_generate(file.generate).with_package(package)


def _dense(
    file: _GridFile, path: Path, threads: int, package: str | None
) -> tuple[Run | None, Path | None]:
    """The dense run if the grid says how it is made, and its folder."""
    if file.dense is None or isinstance(file.dense, str):
        return None, None if file.dense is None else Path(file.dense)
    if not isinstance(file.dense, dict) or not file.dense.get("recipe"):
        raise PruningError(
            f"{path}: 'dense' must be a folder, or hold 'recipe' and perhaps 'folder' and 'train'"
        )
    own = read_as(_DenseFile, file.dense, f"{path}, dense")
    recipe = _recipe(own.recipe, file, package).with_train(own.train)
    folder = Path(own.folder) if own.folder else default_folder(recipe)
    return Run(recipe, folder, threads), folder


def _refuse_axes(flags: Mapping[str, Any], place: str) -> None:
    given = {dashed(name) for name, value in flags.items() if value is not None}
    for name, axis in _AXES.items():
        if name in given:
            raise PruningError(f"{place} sets {name}, which '{axis}' says: leave it out")


def _method(content: Mapping[str, Any], place: str) -> Method:
    train = dict(content)
    _refuse_axes(train, place)
    own: dict[str, Any] = {n: train.pop(n) for n in ("rank", "score", "budgets") if n in train}
    method = read_as(Method, {**own, "train": train}, place)
    _refuse_axes(method.rank or {}, f"{place}: 'rank'")
    return method


def jobs_of(grid: Grid, threads: int = 1) -> list[Job]:
    """All runs of a grid, in the order of methods, budgets and seeds; the dense one first."""
    jobs = []
    if grid.dense is not None:
        jobs.append(Job(DENSE, DENSE, grid.dense, ((DENSE, grid.dense.folder),)))
    for name, method in grid.methods.items():
        recipe = grid.recipe.with_train(method.train)
        if method.rank is not None:
            recipe = replace(recipe, rank=method.rank)
        for budget in [",".join(grid.budgets)] if method.budgets else grid.budgets:
            for seed in grid.seeds:
                jobs.append(_job(grid, name, recipe, budget, seed, threads))
    return jobs


def _job(grid: Grid, method: str, recipe: Recipe, budget: str, seed: int, threads: int) -> Job:
    if "head-costs" in recipe.train:
        recipe = recipe.with_train({"cost-budget": budget, "num-of-heads": None, "seed": seed})
        names = [f"{method}-c{budget}-s{seed}"]
    else:
        recipe = recipe.with_train({"num-of-heads": budget, "seed": seed})
        names = [f"{method}-k{k}-s{seed}" for k in recipe.budgets]
    name = names[0] if len(names) == 1 else f"{method}-s{seed}"
    run = Run(recipe, grid.folder / name, threads)
    folders = [target.folder for target in targets_of(run)]
    return Job(name, method, run, tuple(zip(names, folders, strict=True)))
