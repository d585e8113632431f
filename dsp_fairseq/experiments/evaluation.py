"""How the models of a task are evaluated: the registry that runs, sweeps and reports ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..errors import PruningError, refuse_taken
from ..evaluation.paired import Output, PairedTests
from .recipe import Recipe

DEFAULT_TASK = "translation"
"""fairseq's, and that of results which do not name theirs."""


class Evaluation(ABC):
    """The evaluation of a task; register a subclass with :func:`register_evaluation`.

    Attributes:
        task: its name, as ``--task`` has it.
        metrics: name in ``result.json`` -> title; models are compared by the first.
        short: the first in a word, for figures and for tables in a terminal.
        doing: what a run does meanwhile.
        suffix: of the files of what the model gave for a split.
        chosen_by: the columns of a report that budgets and methods are chosen by.
    """

    task: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]]
    short: ClassVar[str]
    doing: ClassVar[str]
    suffix: ClassVar[str]
    chosen_by: ClassVar[str]

    @property
    def metric(self) -> str:
        """The name of the metric that models are compared by."""
        return next(iter(self.metrics))

    @property
    def title(self) -> str:
        """Its title."""
        return self.metrics[self.metric]

    def file(self, split: str) -> str:
        """The name of the file of what the model gave for a split."""
        return f"{split}{self.suffix}"

    # ---- before a run

    @abstractmethod
    def check_flags(self, recipe: Recipe) -> None:
        """Checks what a recipe says of its evaluation, without data.

        Raises:
            PruningError: a flag that is unknown, or that is not for this task.
        """

    def check_folder(self, data: Path) -> None:  # noqa: B027  (most tasks need no more)
        """Checks what a folder needs besides its splits.

        Raises:
            PruningError: it does not have it.
        """

    @abstractmethod
    def check_split(self, recipe: Recipe, split: str) -> None:
        """Checks that a split can be evaluated with what training makes.

        Raises:
            PruningError: it is missing, or the model cannot read it.
        """

    # ---- a run

    @abstractmethod
    def command(
        self,
        recipe: Recipe,
        checkpoint: Path,
        split: str,
        cpu: bool,
        budget: str | None,
        output: Path,
    ) -> list[str]:
        """The command that evaluates a split; what it prints is kept as ``SPLIT.out``.

        Args:
            recipe: with all flags settled.
            checkpoint: of the model.
            split: such as ``test``.
            cpu: whether to do without a GPU.
            budget: one of several that the model was trained for; None for its only one.
            output: the file of what the model gives, where that is not what it prints.
        """

    @abstractmethod
    def score(self, folder: Path, data: Path, split: str) -> dict[str, dict[str, Any]]:
        """Every metric of a split, as ``result.json`` has it: ``score``, ``signature`` and more.

        Args:
            folder: with the outputs.
            data: folder of the data.
            split: such as ``test``.

        Raises:
            PruningError: the outputs cannot be read, or are not of this data.
        """

    @abstractmethod
    def describe(self, record: Mapping[str, Any]) -> str:
        """A line about such a score."""

    def speed(self, folder: Path, split: str) -> dict[str, float]:
        """What ``result.json`` says of the speed of the evaluation."""
        return {}

    # ---- several runs

    @abstractmethod
    def tests(self, outputs: Mapping[str, Output], data: Path | None) -> PairedTests:
        """Paired tests between runs, by name.

        Args:
            outputs: the files of the test split.
            data: the folder of the data, where it is there.
        """


EVALUATIONS: dict[str, Evaluation] = {}
"""The evaluations by their tasks."""

_Class = TypeVar("_Class", bound=type[Evaluation])


def register_evaluation(evaluation: _Class) -> _Class:
    """A class decorator: recipes of the task can be run.

    Raises:
        PruningError: its task has one already.
    """
    refuse_taken(EVALUATIONS, evaluation.task, "evaluation of --task")
    EVALUATIONS[evaluation.task] = evaluation()
    return evaluation


def evaluation_of(recipe: Recipe) -> Evaluation:
    """How the model of a recipe is evaluated.

    Raises:
        PruningError: its task has no evaluation.
    """
    task = str(recipe.train.get("task", DEFAULT_TASK))
    if task not in EVALUATIONS:
        known = " and ".join(sorted(EVALUATIONS, key=lambda name: name != DEFAULT_TASK))
        raise PruningError(
            f"recipe {recipe.name} is of --task {task}, and dsp-run can only evaluate {known}: "
            "train it by fairseq-train, or give the package that has its evaluation by --user-dir"
        )
    return EVALUATIONS[task]
