"""A grid file, and the runs that it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import PruningError
from .recipe import Recipe, load_recipe, load_yaml, merge_flags
from .results import DENSE
from .run import BEST, Run, default_folder, targets_of

_KEYS = (
    *("recipe", "folder", "methods", "budgets", "seeds", "dense", "train", "generate"),
    "submitit",
)
_METHOD_KEYS = ("score", "budgets")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Grid:
    """What a grid file says.

    Attributes:
        recipe: what every run is made by.
        folder: where the runs are kept.
        methods: per name, training flags; ``score`` holds flags of dsp-score-heads, and
            ``budgets: all`` trains one model for all budgets.
        budgets: values of K.
        seeds: seeds of the runs.
        dense: the dense run of the same recipe, if the sweep is to make it too.
        dense_folder: where the dense run is; runs that start from a checkpoint start from its.
        submitit: parameters of submitit's executor.
    """

    recipe: Recipe
    folder: Path
    methods: Mapping[str, Mapping[str, Any]]
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


# ---- the grid


def load_grid(path: Path, threads: int = 1) -> Grid:
    """Reads a grid file; paths in it are relative to the folder in which the command is given.

    Raises:
        PruningError: a file that cannot be read, an unknown key, one that is missing, or a value of
            another kind.
    """
    content = load_yaml(path)
    unknown = sorted(set(content) - set(_KEYS))
    if unknown:
        raise PruningError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    for key in ("recipe", "folder", "methods", "budgets", "seeds"):
        if not content.get(key):
            raise PruningError(f"{path}: '{key}' is missing or empty")
    methods = content["methods"]
    if not isinstance(methods, dict) or not all(
        isinstance(flags or {}, dict) and _NAME.fullmatch(str(name)) and name != DENSE
        for name, flags in methods.items()
    ):
        raise PruningError(
            f"{path}: 'methods' must hold 'name: {{flag: value}}' lines, with names of letters, "
            f"digits and -_. other than {DENSE}"
        )
    for name, flags in methods.items():
        if (flags or {}).get("budgets", "all") != "all":
            raise PruningError(f"{path}: 'budgets' of method {name} can only be 'all'")
        if not isinstance((flags or {}).get("score") or {}, dict):
            raise PruningError(
                f"{path}: 'score' of method {name} must hold flags of dsp-score-heads, as in "
                "{method: michel}"
            )
    for key in ("budgets", "seeds"):
        values = content[key]
        if not isinstance(values, list) or not all(
            type(value) is int and value >= 0 for value in values
        ):
            raise PruningError(f"{path}: '{key}' must be a list of whole numbers, not {values!r}")
        if len(set(values)) != len(values):
            raise PruningError(f"{path}: '{key}' names a number twice")
    generate = content.get("generate") or {}
    recipe = load_recipe(Path(str(content["recipe"]))).with_generate(generate)
    dense, dense_folder = _dense(content.get("dense"), path, threads)
    if dense_folder is not None and recipe.start is not None:
        recipe = replace(recipe, start=str(dense_folder / BEST))
    if dense is not None:
        dense = replace(dense, recipe=dense.recipe.with_generate(generate))
    return Grid(
        recipe.with_train(content.get("train") or {}),
        Path(str(content["folder"])),
        {str(name): flags or {} for name, flags in methods.items()},
        tuple(str(budget) for budget in content["budgets"]),
        tuple(content["seeds"]),
        dense,
        dense_folder,
        content.get("submitit") or {},
    )


def _dense(content: Any, path: Path, threads: int) -> tuple[Run | None, Path | None]:
    """The dense run if the grid says how it is made, and its folder."""
    if content is None:
        return None, None
    if not isinstance(content, dict):
        return None, Path(str(content))
    if not content.get("recipe") or set(content) - {"recipe", "folder", "train"}:
        raise PruningError(
            f"{path}: 'dense' must be a folder, or hold 'recipe' and perhaps 'folder' and 'train'"
        )
    recipe = load_recipe(Path(str(content["recipe"]))).with_train(content.get("train") or {})
    folder = Path(str(content.get("folder") or default_folder(recipe)))
    return Run(recipe, folder, threads), folder


def jobs_of(grid: Grid, threads: int = 1) -> list[Job]:
    """All runs of a grid, in the order of methods, budgets and seeds; the dense one first."""
    jobs = []
    if grid.dense is not None:
        jobs.append(Job(DENSE, DENSE, grid.dense, ((DENSE, grid.dense.folder),)))
    for method, flags in grid.methods.items():
        train = {name: value for name, value in flags.items() if name not in _METHOD_KEYS}
        recipe = grid.recipe.with_train(train)
        if flags.get("score"):
            recipe = replace(recipe, score=merge_flags({}, flags["score"]))
        budgets = [",".join(grid.budgets)] if flags.get("budgets") else grid.budgets
        for budget in budgets:
            for seed in grid.seeds:
                jobs.append(_job(grid, method, recipe, budget, seed, threads))
    return jobs


def _job(grid: Grid, method: str, recipe: Recipe, budget: str, seed: int, threads: int) -> Job:
    recipe = recipe.with_train({"num-of-heads": budget, "seed": seed})
    names = [f"{method}-k{k}-s{seed}" for k in recipe.budgets]
    name = names[0] if len(names) == 1 else f"{method}-s{seed}"
    run = Run(recipe, grid.folder / name, threads)
    folders = [target.folder for target in targets_of(run)]
    return Job(name, method, run, tuple(zip(names, folders, strict=True)))
