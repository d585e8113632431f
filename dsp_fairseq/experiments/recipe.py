"""Recipes: YAML files that say how a model is made, and the commands that follow from them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from fairseq import options

from ..about import USER_DIR
from ..errors import CommandExit, PruningError
from ..estimators import ESTIMATORS
from ..heads.family import family_of
from ..pruning.flags import PruningConfig
from ..pruning.plan import check_schedule, plan_pruning
from ..pruning.refusals import refuse_unsupported

Flags = dict[str, "str | bool"]
"""Flags of a fairseq command by their long names without dashes; True is a flag without a value."""

SCHEDULE_FLAGS = ("pruning-mode", "finetune-updates", "freeze-heads-after", "cooldown-steps")
"""What a run whose heads are chosen without training has no use for."""


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
_OWN_FLAGS = {"user-dir", "save-dir", "finetune-from-model", "restore-file"}
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


# ---- commands


def arguments_of(flags: Mapping[str, Any]) -> list[str]:
    """Flags as a command line has them."""
    words: list[str] = []
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words += [f"--{name}", str(value)]
    return words


def train_flags(recipe: Recipe, folder: Path) -> Flags:
    """All flags of fairseq-train but those of the machine."""
    given = dict(recipe.train)
    start = recipe.start
    if recipe.score is not None:
        start = str(folder / "scored.pt")
        given["max-update"] = given.get("finetune-updates", "0")
        for name in SCHEDULE_FLAGS:
            given.pop(name, None)
    elif given.get("pruning-mode") == "pipelined" and "max-update" not in given:
        parts = [_freeze_of(given), str(given.get("finetune-updates", "0"))]
        # What is no number is for fairseq-train's own parser to refuse.
        if all(part.isdigit() for part in parts):
            given["max-update"] = str(sum(map(int, parts)))
    flags: Flags = {"user-dir": str(USER_DIR), **given, "seed": str(recipe.seed)}
    if start is not None:
        flags["finetune-from-model"] = start
    flags |= {"save-dir": str(folder), "log-format": "json"}
    flags.setdefault("log-interval", "50")
    return flags


def _freeze_of(flags: Flags) -> str:
    """Updates until the freeze, as :func:`~dsp_fairseq.pruning.plan.plan_pruning` has it."""
    defaults = PruningConfig()
    estimator = ESTIMATORS.get(str(flags.get("gate-estimator", defaults.gate_estimator)))
    if estimator is not None and not estimator.learns:
        return "0"
    cooldown = flags.get("cooldown-steps", defaults.cooldown_steps)
    return str(flags.get("freeze-heads-after", cooldown))


def train_command(recipe: Recipe, folder: Path, cpu: bool) -> list[str]:
    """The command that trains, or continues, a run.

    Args:
        recipe: with all flags settled.
        folder: where checkpoints go.
        cpu: whether to train without a GPU.
    """
    arguments = [recipe.data, *arguments_of(train_flags(recipe, folder))]
    if cpu and "cpu" not in recipe.train:
        arguments.append("--cpu")
    arguments += ["--distributed-world-size", str(recipe.processes)]
    if recipe.processes == 1:
        return ["fairseq-train", *arguments]
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(recipe.processes)]
    if not cpu:
        return [*torchrun, "--no-python", "fairseq-train", *arguments]
    # Under torchrun fairseq takes its rank from the environment only where there is a GPU.
    arguments += ["--distributed-backend", "gloo", "--distributed-init-method", "env://"]
    shell = 'exec fairseq-train "$@" --distributed-no-spawn --distributed-rank "$RANK"'
    return [*torchrun, "--no-python", "bash", "-c", shell, "fairseq-train", *arguments]


def score_heads_command(recipe: Recipe, folder: Path) -> list[str]:
    """The command that chooses heads of the start checkpoint without training."""
    if recipe.start is None or recipe.score is None:
        raise PruningError(f"recipe {recipe.name}: 'score' needs 'start', the checkpoint to score")
    given = {"num-of-heads": recipe.budget, "seed": str(recipe.seed), **recipe.score}
    output = {"output": str(folder / "scored.pt")}
    return [
        *("dsp-score-heads", recipe.start, "--data", recipe.data),
        *arguments_of({k: v for k, v in given.items() if v is not None} | output),
    ]


def generate_command(
    recipe: Recipe, checkpoint: Path, split: str, cpu: bool, budget: str | None = None
) -> list[str]:
    """The command that translates a split, with one of several budgets if the model has them."""
    flags = {
        "user-dir": str(USER_DIR),
        "path": str(checkpoint),
        "gen-subset": split,
        # Without it fairseq leaves out the last incomplete batch.
        "required-batch-size-multiple": "1",
        **recipe.generate,
    }
    if budget is not None:
        flags["model-overrides"] = str({"num_of_heads": budget})
    if cpu:
        flags["cpu"] = True
    return ["fairseq-generate", recipe.data, *arguments_of(flags)]


# ---- checking


def check_flags(recipe: Recipe, folder: Path) -> None:
    """Parses the flags as fairseq's own commands would, and checks the pruning flags.

    Raises:
        PruningError: a flag that does not exist, a value that is refused, or a missing budget.
    """
    if recipe.budget is None:
        raise PruningError(f"recipe {recipe.name} leaves K open: give --num-of-heads K")
    if own := sorted(_OWN_FLAGS & recipe.train.keys()):
        raise PruningError(
            f"recipe {recipe.name}: --{own[0]} is what dsp-run sets itself: leave it out"
        )
    command = f"recipe {recipe.name}, fairseq-train"
    parser = options.get_training_parser()
    # Without the name of the data, which need not be there yet.
    words = ["", *arguments_of(train_flags(recipe, folder))]
    args = _parse(lambda: options.parse_args_and_arch(parser, words), command)
    if str(getattr(args, "arch", "")).startswith("dsp_"):
        layout = family_of(args).layout(args)
        plan = plan_pruning(args, layout)
        if recipe.score is None:
            check_schedule(plan, layout, args.max_update)
        refuse_unsupported(args)
    generate = generate_command(recipe, folder / "checkpoint_best.pt", "test", cpu=False)[1:]
    parser = options.get_generation_parser()
    _parse(
        lambda: options.parse_args_and_arch(parser, generate),
        f"recipe {recipe.name}, fairseq-generate",
    )
    if recipe.score is not None:
        score_heads_command(recipe, folder)


def _parse(parse: Any, command: str) -> Any:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return parse()
    except CommandExit as end:
        raise end.error from None
    except SystemExit:
        last = (errors.getvalue().strip().splitlines() or ["it does not parse"])[-1]
        raise PruningError(f"{command}: {last.partition('error: ')[2] or last}") from None
