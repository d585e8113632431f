"""A run: the model to be made, and the files in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PruningError
from ..files import LAST
from ..heads.costs import resolve_costs
from .recipe import Recipe, load_recipe, read_as, read_yaml
from .record import RUN_FILE
from .results import RESULT_FILE

BEST = "checkpoint_best.pt"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One model to be made.

    Attributes:
        recipe: with all flags settled, prices of heads among them.
        folder: where all its files go.
        threads: CPU threads of each process.
        gpu: the number of the only GPU to use, of those that are visible (default: all).
        data_sha256: what the data's hash has to be, if that is known already.
        start_sha256: the same of the checkpoint that it starts from.
        teacher_sha256: the same of its teacher.
        package_sha256: the same of the user's own package.
    """

    recipe: Recipe
    folder: Path
    threads: int = 1
    gpu: int | None = None
    data_sha256: str | None = None
    start_sha256: str | None = None
    teacher_sha256: str | None = None
    package_sha256: str | None = None

    def __post_init__(self) -> None:
        if (prices := self.recipe.train.get("head-costs")) is not None:
            # A file of them may be another one when the run goes on.
            recipe = self.recipe.with_train({"head-costs": resolve_costs(str(prices))})
            object.__setattr__(self, "recipe", recipe)

    @property
    def starts_anew(self) -> bool:
        """Whether there is no training to be continued."""
        return not (self.folder / LAST).exists()


@dataclass(frozen=True)
class Target:
    """One budget that a run is evaluated at, and the folder of its outputs and result.

    Where one training serves several budgets, each has a folder within that of the run.
    """

    budget: str | None
    folder: Path


def targets_of(run: Run) -> list[Target]:
    """What a run is evaluated at; a budget of None is the only one."""
    budgets = run.recipe.budgets
    if len(budgets) == 1:
        return [Target(None, run.folder)]
    return [Target(budget, run.folder / f"k{budget}") for budget in budgets]


def is_done(run: Run) -> bool:
    """Whether a run has all its results."""
    return all((target.folder / RESULT_FILE).exists() for target in targets_of(run))


def read_run(path: Path) -> Run:
    """The run that a recipe or a ``run.yaml`` describes.

    Raises:
        PruningError: the file is neither.
    """
    content = read_yaml(path)
    if "format_version" not in content:
        recipe = load_recipe(path)
        return Run(recipe, default_folder(recipe))
    if content["format_version"] != str(FORMAT_VERSION) or not isinstance(
        content.get("recipe"), dict
    ):
        raise PruningError(f"{path} is not a {RUN_FILE} that this version of dsp-run can read")
    folder, above = path.parent, path.parent.parent
    if path.is_symlink() and path.resolve() == (above / RUN_FILE).resolve():
        # One of several budgets has a folder in that of the training.
        folder = above
    return Run(
        read_as(Recipe, content["recipe"], path),
        folder,
        _threads(content.get("threads", "1"), path),
        data_sha256=content.get("data_sha256"),
        start_sha256=content.get("start_sha256"),
        teacher_sha256=content.get("teacher_sha256"),
        package_sha256=content.get("package_sha256"),
    )


def _threads(value: Any, path: Path) -> int:
    if not str(value).isdecimal() or int(value) < 1:
        raise PruningError(f"{path}: 'threads' must be 1 or more, not {value!r}")
    return int(value)


def default_folder(recipe: Recipe) -> Path:
    """The recipe's own folder, or ``runs/NAME/kK-sSEED`` with ``cC`` for a budget in cost."""
    budget = f"k{recipe.budget}" if recipe.budget is not None else f"c{recipe.cost_budget}"
    return Path(recipe.folder or f"runs/{recipe.name}/{budget}-s{recipe.seed}")


def unfinished(target: Target, split: str) -> Path:
    return target.folder / f".{split}.out.part"
