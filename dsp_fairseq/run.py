"""``dsp-run``: one run of a recipe, from training to scores, that can be repeated from its file."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import rich.console
import torch
import yaml

from .arguments import CommandParser
from .checkpoints import load_checkpoint
from .corpus import check_dictionaries
from .errors import UsageError
from .export import count_parameters, slice_weights
from .headmap import head_map_of
from .processes import locked, run_logged, search_path
from .provenance import data_hash, device, file_hash, git_state, versions
from .recipe import (
    Recipe,
    check_flags,
    generate_command,
    load_yaml,
    parse_assignments,
    parse_recipe,
    score_heads_command,
    train_command,
    train_flags,
)
from .recipe import load_recipe as read_recipe
from .restart import updates_of
from .score import score_file

RUN_FILE, RESULT_FILE, LOG_FILE = "run.yaml", "result.json", "train.log"
BEST, LAST = "checkpoint_best.pt", "checkpoint_last.pt"
FORMAT_VERSION = 1

_SPEED = re.compile(r"Translated [\d,]+ sentences \([\d,]+ tokens\) in ([\d.]+)s \(.*, ([\d.]+) t")
_DECIDING = ("data", "train", "generate", "evaluate", "processes", "start", "score")


@dataclass(frozen=True)
class Run:
    """One model to be made.

    Attributes:
        recipe: with all flags settled.
        folder: where all its files go.
        threads: CPU threads of each process.
        gpu: the number of the only GPU to use, of those that are visible (default: all).
        data_sha256: what the data's hash has to be, if that is known already.
        start_sha256: the same of the checkpoint that it starts from.
    """

    recipe: Recipe
    folder: Path
    threads: int = 1
    gpu: int | None = None
    data_sha256: str | None = None
    start_sha256: str | None = None

    @property
    def starts_anew(self) -> bool:
        """Whether there is no training to be continued."""
        return not (self.folder / LAST).exists()


@dataclass(frozen=True)
class Target:
    """One budget that a run is evaluated at, and the folder of its translations and result.

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
        UsageError: the file is neither.
    """
    content = load_yaml(path)
    if "format_version" not in content:
        recipe = read_recipe(path)
        return Run(recipe, default_folder(recipe))
    if content["format_version"] != FORMAT_VERSION or not isinstance(content.get("recipe"), dict):
        raise UsageError(f"{path} is not a {RUN_FILE} that this version of dsp-run can read")
    return Run(
        parse_recipe(content["recipe"], path),
        path.parent,
        _threads(content.get("threads", 1), path),
        data_sha256=content.get("data_sha256"),
        start_sha256=content.get("start_sha256"),
    )


def _threads(value: Any, path: Path) -> int:
    if type(value) is not int or value < 1:
        raise UsageError(f"{path}: 'threads' must be a number from 1 on, not {value!r}")
    return value


def default_folder(recipe: Recipe) -> Path:
    """The recipe's own folder, or ``runs/NAME/kK-sSEED``."""
    return Path(recipe.folder or f"runs/{recipe.name}/k{recipe.budget}-s{recipe.seed}")


# ---- what a run needs and leaves


def check_run(run: Run, start_is_coming: bool = False) -> None:
    """Checks all that can be known before training, on whatever machine.

    Args:
        run: what is to be run.
        start_is_coming: whether the checkpoint that it starts from is still to be made.

    Raises:
        UsageError: flags that do not parse, missing or other data, a missing start, or a folder
            of another run.
    """
    check_flags(run.recipe, run.folder)
    check_data(run)
    if not start_is_coming:
        check_start(run)
    check_folder(run)


def check_machine(run: Run) -> None:
    """Checks that there are as many GPUs as the recipe needs.

    Raises:
        UsageError: the recipe needs GPUs that are not there.
    """
    train, gpus = run.recipe.train, torch.cuda.device_count()
    if train.get("fp16") and not gpus:
        raise UsageError(f"recipe {run.recipe.name} trains with --fp16, which needs a GPU")
    if 0 < gpus < run.recipe.processes:
        raise UsageError(
            f"recipe {run.recipe.name} trains in {run.recipe.processes} processes, and this "
            f"machine has {gpus} GPUs: give --processes {gpus}, and raise --set update-freq=U so "
            "that processes times U stays the same"
        )


def check_data(run: Run) -> None:
    """Checks that the data is there, and is what the run was made from.

    Raises:
        UsageError: the data is missing, or is not what the run was made from.
    """
    folder, recipe = Path(run.recipe.data), run.recipe
    if not folder.is_dir():
        how = f": make it with: {recipe.prepare}" if recipe.prepare else ""
        raise UsageError(f"there is no data folder {folder}{how}")
    check_dictionaries(folder)
    if run.data_sha256 is not None and data_hash(folder) != run.data_sha256:
        raise UsageError(
            f"the data in {folder} is not what this run was made from: its sha256 is "
            f"{data_hash(folder)[:12]}..., that in the run's file {run.data_sha256[:12]}..."
        )


def add_prepare_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of ``dsp-run`` and ``dsp-sweep`` that has missing data made."""
    parser.add_argument(
        "--prepare",
        nargs="?",
        const="",
        metavar="FROM",
        help="make missing data first, by the recipe's own command; FROM is its --from, where the "
        "raw text is (default: it is downloaded)",
    )


def prepare_data(recipe: Recipe, source: str) -> None:
    """Makes the data of a recipe by its own command, unless it is there.

    Args:
        recipe: what is to be run.
        source: what the command's ``--from`` gets; empty leaves it out.

    Raises:
        UsageError: the recipe has no such command, or it failed.
    """
    if Path(recipe.data).is_dir():
        return
    if not recipe.prepare:
        raise UsageError(f"recipe {recipe.name} does not say how {recipe.data} is made")
    command = [*shlex.split(recipe.prepare), *(["--from", source] if source else [])]
    print(shlex.join(command), flush=True)
    environment = {**os.environ, "PATH": search_path()}
    if status := subprocess.run(command, env=environment).returncode:
        raise UsageError(f"there is no data in {recipe.data}: that command ended with {status}")


def check_start(run: Run) -> None:
    """Checks that the checkpoint to start from is there, and is the same.

    Raises:
        UsageError: the checkpoint to start from is missing, or is another one.
    """
    if run.recipe.start is None or not run.starts_anew:
        return
    start = Path(run.recipe.start)
    if not start.is_file():
        how = f": make it with: {run.recipe.make_start}" if run.recipe.make_start else ""
        raise UsageError(f"there is no checkpoint {start} to start from{how}")
    if run.start_sha256 is not None and file_hash(start) != run.start_sha256:
        raise UsageError(f"{start} is not the checkpoint that this run started from")


def check_folder(run: Run) -> None:
    """Checks that the folder is free, or holds this very run.

    Raises:
        UsageError: the folder holds a run with other settings, or of other data.
    """
    path = run.folder / RUN_FILE
    if not path.exists():
        return
    stored = load_yaml(path)
    theirs, ours = stored.get("recipe", {}), run.recipe.settings()
    for key in _DECIDING:
        if theirs.get(key) != ours.get(key):
            raise UsageError(
                f"{run.folder} holds a run with other settings "
                f"({_difference(key, theirs.get(key), ours.get(key))}): give another --save-dir, "
                "or remove the folder"
            )
    check_data(replace(run, data_sha256=stored.get("data_sha256")))
    if run.recipe.start is not None and Path(run.recipe.start).is_file():
        check_start(replace(run, start_sha256=stored.get("start_sha256")))


def _difference(key: str, theirs: Any, ours: Any) -> str:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        name = sorted(k for k in {*theirs, *ours} if theirs.get(k) != ours.get(k))[0]
        key, theirs, ours = name, theirs.get(name), ours.get(name)
    return f"{key}: {theirs} there, {ours} here"


def describe(run: Run) -> dict[str, Any]:
    """What ``run.yaml`` holds: enough to run it again, and to know what it was run with."""
    recipe = run.recipe
    start = recipe.start
    return {
        "format_version": FORMAT_VERSION,
        "recipe": recipe.settings(),
        "threads": run.threads,
        "seed": recipe.seed,
        "data_sha256": data_hash(Path(recipe.data)),
        "start_sha256": file_hash(Path(start)) if start and Path(start).is_file() else None,
        # A checkpoint from elsewhere is continued as fairseq-train would; the record says so.
        "continued_from_unknown": not run.starts_anew,
        "versions": versions(),
        "git": git_state(),
        "device": device(),
        "commands": [shlex.join(command) for command in commands_of(run)],
    }


def commands_of(run: Run) -> list[list[str]]:
    """All commands of a run, in their order."""
    cpu = _on_cpu(run)
    commands = []
    if run.recipe.score is not None:
        commands.append(score_heads_command(run.recipe, run.folder))
    if train_flags(run.recipe, run.folder).get("max-update") != "0":
        commands.append(train_command(run.recipe, run.folder, cpu))
    best = run.folder / BEST
    for target in targets_of(run):
        for split in run.recipe.evaluate:
            commands.append(generate_command(run.recipe, best, split, cpu, target.budget))
    return commands


def _on_cpu(run: Run) -> bool:
    # A recipe in 16 bits is for GPUs; without one, its commands can still be shown.
    return not torch.cuda.is_available() and not run.recipe.train.get("fp16")


# ---- running


def execute(run: Run, wait: bool = False) -> list[dict[str, Any]]:
    """Does what is missing of a run: heads, training, translations, scores.

    Args:
        run: what to run.
        wait: if another process works on it, whether to wait or to refuse.

    Returns:
        what each ``result.json`` holds, one a budget.

    Raises:
        UsageError: something is missing, or a command failed.
    """
    check_run(run)
    with locked(run.folder, wait) as lock:
        check_folder(run)
        if not is_done(run):
            check_machine(run)
            if not (run.folder / RUN_FILE).exists():
                text = yaml.safe_dump(describe(run), sort_keys=False, width=100)
                write_whole(run.folder / RUN_FILE, text)
            _train(run, lock)
            for target in targets_of(run):
                _evaluate(run, target, lock)
    return [read_result(target.folder) for target in targets_of(run)]


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    try:
        return json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {folder / RESULT_FILE}: {error}") from None


def write_whole(path: Path, text: str) -> None:
    """Writes a whole file or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def environment_of(run: Run) -> dict[str, str]:
    """The variables that its processes get."""
    variables = {"OMP_NUM_THREADS": str(run.threads), "PYTHONWARNINGS": "ignore"}
    # Huge pages for PyTorch's large tensors: a step on a CPU spends a fifth of its time otherwise
    # on faults of fresh pages. The numbers stay the same.
    variables["THP_MEM_ALLOC_ENABLE"] = "1"
    if run.gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        number = visible[run.gpu] if visible != [""] else str(run.gpu)
        variables["CUDA_VISIBLE_DEVICES"] = number
    return variables


def _step(run: Run, command: Sequence[str], output: Path, log: Path, lock: int) -> None:
    """Runs one command of a run.

    Raises:
        UsageError: it failed; its last words, and where the others are.
    """
    status = run_logged(command, output, log, environment_of(run), lock)
    if status != 0:
        raise UsageError(
            f"{Path(command[0]).name} failed with status {status} ({_last_words(log)}); log: {log}"
        )


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")[:300]


def _train(run: Run, lock: int) -> None:
    log = run.folder / LOG_FILE
    mend_checkpoints(run.folder)
    if run.recipe.score is not None and not (run.folder / "scored.pt").exists():
        _step(run, score_heads_command(run.recipe, run.folder), log, log, lock)
    if train_flags(run.recipe, run.folder).get("max-update") == "0":
        _copy_whole(run.folder / "scored.pt", run.folder / BEST)
        return
    if not has_trained(run):
        _step(run, train_command(run.recipe, run.folder, _on_cpu(run)), log, log, lock)
    if not (run.folder / BEST).exists():
        raise UsageError(f"training left no {BEST} in {run.folder}; see {log}")


def has_trained(run: Run) -> bool:
    """Whether training came to its end: fairseq-train, started again, would do one more update."""
    log, last = run.folder / LOG_FILE, run.folder / LAST
    if not last.exists():
        return False
    if log.exists() and " | done training in " in log.read_text("utf-8", "replace"):
        return True
    return 0 < max_update(run) <= updates_of(load_checkpoint(last))


def mend_checkpoints(folder: Path) -> None:
    """Removes checkpoints that a kill cut off, and lets training go on from the newest whole one.

    fairseq writes the first file of a save atomically and copies it to the other names.
    """
    files = list(folder.glob("checkpoint*.pt"))
    whole = [path for path in files if zipfile.is_zipfile(path)]
    broken = [path for path in files if path not in whole]
    if any(path.name == LAST for path in broken) and whole:
        newest = max(whole, key=lambda path: path.stat().st_mtime_ns)
        _copy_whole(newest, folder / LAST)
        broken = [path for path in broken if path.name != LAST]
    for path in broken:
        path.unlink()


def _copy_whole(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    os.replace(part, target)


def _evaluate(run: Run, target: Target, lock: int) -> None:
    if target.folder != run.folder:
        target.folder.mkdir(exist_ok=True)
        for name in (RUN_FILE, LOG_FILE):
            link = target.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..") / name)
    for split in run.recipe.evaluate:
        _translate(run, target, split, lock)
    write_whole(target.folder / RESULT_FILE, json.dumps(summarise(run, target)) + "\n")


def _translate(run: Run, target: Target, split: str, lock: int) -> None:
    best, output = run.folder / BEST, target.folder / f"{split}.out"
    if output.exists() and output.stat().st_mtime_ns > best.stat().st_mtime_ns:
        return
    part = _unfinished(target, split)
    log = target.folder / f"{split}.log"
    for path in (part, log):
        path.unlink(missing_ok=True)
    command = generate_command(run.recipe, best, split, _on_cpu(run), target.budget)
    _step(run, command, part, log, lock)
    os.replace(part, output)


def _unfinished(target: Target, split: str) -> Path:
    return target.folder / f".{split}.out.part"


# ---- the result


def summarise(run: Run, target: Target) -> dict[str, Any]:
    """The result of a run whose files are all there, as one JSON object."""
    recipe, folder = run.recipe, target.folder
    scores = {
        split: {
            name: asdict(score)
            for name, score in score_file(folder / f"{split}.out", Path(recipe.data), split).items()
        }
        for split in recipe.evaluate
    }
    best = run.folder / BEST
    state = load_checkpoint(best)
    head_map = head_map_of(state, best, target.budget)
    layout, weights = head_map.layout, state["model"]
    dense = {name: value for name, value in weights.items() if not name.startswith("head_gates.")}
    seconds, speed = generation_speed(folder, recipe.evaluate[-1])
    kept: dict[str, list[list[int]]] = {kind: [] for kind in layout.kinds()}
    for site, heads in head_map.kept.items():
        kept[site.kind].append(heads)
    heads_per_layer = {
        site.kind: count for site, count in zip(layout.sites, layout.heads, strict=True)
    }
    return {
        "id": folder.resolve().name,
        "recipe": recipe.name,
        "method": "dense" if head_map.budget == layout.num_heads else recipe.method,
        "budget": head_map.budget,
        "num_heads": layout.num_heads,
        "seed": recipe.seed,
        "folder": ".",
        "parameters": count_parameters(slice_weights(weights, layout, head_map.mask)),
        "parameters_dense": count_parameters(dense),
        "train_seconds": train_seconds(run),
        "generate_seconds": seconds,
        "tokens_per_second": speed,
        # Training validates with the first budget only.
        "valid_loss": valid_loss(state) if target == targets_of(run)[0] else None,
        "scores": scores,
        "kept": kept,
        "heads_per_layer": heads_per_layer,
    }


def generation_speed(folder: Path, split: str) -> tuple[float, float]:
    """Seconds and generated tokens per second, as fairseq-generate says them at its end.

    Raises:
        UsageError: it did not say them.
    """
    # fairseq's log goes to either stream, depending on what was imported before it was set up.
    for path in (folder / f"{split}.log", folder / f"{split}.out"):
        if path.exists() and (found := _SPEED.search(path.read_text("utf-8", "replace"))):
            return float(found[1]), float(found[2])
    raise UsageError(f"{folder / split}.log does not say how fast fairseq-generate was")


def train_seconds(run: Run) -> float:
    """Seconds of training with validation, over all continuations, without those of the start."""
    last = run.folder / LAST
    if not last.exists():
        return 0.0

    def seconds(path: Path) -> float:
        extra = load_checkpoint(path).get("extra_state") or {}
        return float(extra.get("previous_training_time", 0.0))

    # fairseq goes on counting from what the checkpoint it started from had used.
    start = run.folder / "scored.pt" if run.recipe.score is not None else run.recipe.start
    before = seconds(Path(start)) if start and Path(start).exists() else 0.0
    return round(seconds(last) - before, 1)


def valid_loss(best: Mapping[str, Any]) -> float | None:
    """Validation loss of the best checkpoint; None where it was not chosen by that."""
    chosen_by = best["cfg"]["checkpoint"]["best_checkpoint_metric"]
    loss = (best.get("extra_state") or {}).get("val_loss")
    return float(loss) if loss is not None and chosen_by == "loss" else None


def updates_done(folder: Path) -> int | None:
    """The last update that the log tells of; None before the first."""
    lines = _log_lines(folder, "train_inner", tail=1 << 16)
    return int(lines[-1]["num_updates"]) if lines else None


def stage_of(run: Run) -> str:
    """How far a run is, from its files: starting, training U of M, translating, or done."""
    if is_done(run):
        return "done"
    for target in targets_of(run):
        for split in run.recipe.evaluate:
            if _unfinished(target, split).exists():
                at = f" with {target.budget} heads" if target.budget else ""
                return f"translating {split}{at}"
    done, of = updates_done(run.folder), max_update(run)
    if done is None:
        return "starting"
    return f"training {done:,}" + (f" of {of:,}" if of else "")


def max_update(run: Run) -> int:
    """How many updates the run is going to take."""
    return int(train_flags(run.recipe, run.folder).get("max-update", 0))


def _log_lines(folder: Path, kind: str, tail: int | None = None) -> list[dict[str, Any]]:
    """The values that fairseq logged: ``train``, ``train_inner`` or ``valid``.

    Args:
        folder: of the run.
        kind: which values.
        tail: how many bytes at the end to look at (default: all).
    """
    log = folder / LOG_FILE
    if not log.exists():
        return []
    with log.open("rb") as file:
        if tail is not None:
            file.seek(max(0, log.stat().st_size - tail))
        text = file.read().decode("utf-8", "replace")
    lines = []
    for line in text.splitlines():
        _, mark, values = line.partition(f" | INFO | {kind} | ")
        if mark:
            try:
                lines.append(json.loads(values))
            except ValueError:  # cut off by a kill
                continue
    return lines


# ---- the command


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-run``."""
    parser = CommandParser(
        prog="dsp-run",
        description="Trains, translates and scores what a recipe says, and writes beside the "
        "checkpoints how it was done (run.yaml) and what came out (result.json). Given again, it "
        "goes on where it was interrupted; given a run.yaml, it repeats that run.",
        epilog="""examples:
  dsp-run scripts/recipes/multi30k-dense.yaml
  dsp-run scripts/recipes/multi30k-joint.yaml --num-of-heads 12
  dsp-run scripts/recipes/multi30k-joint.yaml --num-of-heads 12 --set gate-estimator=sigmoid \\
      --save-dir runs/sigmoid
  dsp-run runs/sigmoid/run.yaml --save-dir runs/sigmoid-again""",
    )
    parser.add_argument("recipe", type=Path, help="a recipe, or the run.yaml of an earlier run")
    parser.add_argument("--num-of-heads", metavar="K", help="the budget")
    parser.add_argument("--seed", type=int, metavar="S", help="of weights, noise and data order")
    parser.add_argument(
        "--save-dir", type=Path, metavar="DIR", help="default: what the recipe says, or runs/NAME/"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FLAG=VALUE",
        help="a flag of fairseq-train instead of the recipe's; FLAG=true is a flag without value, "
        "FLAG= takes it away; can be repeated",
    )
    parser.add_argument(
        "--processes", type=int, metavar="P", help="processes that train together, one a GPU"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of a process (default: 1)"
    )
    add_prepare_flag(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the commands and check their flags; needs no data",
    )
    args = parser.parse_args(argv)
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    run = with_arguments(read_run(args.recipe), args)
    if args.dry_run:
        check_flags(run.recipe, run.folder)
        for command in commands_of(run):
            print(shlex.join(command))
        return
    if args.prepare is not None:
        prepare_data(run.recipe, args.prepare)
    signal.signal(signal.SIGTERM, interrupt)
    if is_done(run):
        print(f"{run.folder} is finished; its result:")
    else:
        print(f"the log is {run.folder / LOG_FILE}", flush=True)
    try:
        with _progress_shown(run):
            results = execute(run)
    except KeyboardInterrupt:
        raise UsageError("interrupted: the same command will go on from here") from None
    except OSError as error:  # such as a full disk
        raise UsageError(
            f"{error.filename or run.folder}: {error.strerror or error}; mend that, and the same "
            "command will go on from here"
        ) from None
    print("\n".join(render(result) for result in results))


@contextmanager
def _progress_shown(run: Run) -> Iterator[None]:
    """Says in a terminal how far the run is, once a second."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    ended = threading.Event()
    with console.status("starting") as status:

        def watch() -> None:
            while not ended.wait(1.0):
                status.update(stage_of(run))

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            ended.set()


def interrupt(*_: Any) -> None:
    """A signal handler: a termination is treated as Ctrl-C is."""
    raise KeyboardInterrupt


def with_arguments(run: Run, args: argparse.Namespace) -> Run:
    """The run with what the command line changes."""
    for name in ("processes", "threads"):
        if (number := getattr(args, name)) is not None and number < 1:
            raise UsageError(f"--{name} {number} is not a number from 1 on")
    flags = parse_assignments(args.set)
    if args.num_of_heads is not None:
        flags["num-of-heads"] = args.num_of_heads
    if args.seed is not None:
        flags["seed"] = args.seed
    recipe = run.recipe.with_train(flags)
    if args.processes is not None:
        recipe = replace(recipe, processes=args.processes)
    is_recipe = run.data_sha256 is None
    folder = args.save_dir or (default_folder(recipe) if is_recipe else run.folder)
    return replace(run, recipe=recipe, folder=folder, threads=args.threads or run.threads)


def render(result: Mapping[str, Any]) -> str:
    """A few lines for a person."""
    lines = [
        f"{result['budget']} of {result['num_heads']} heads, "
        f"{result['parameters']:,} of {result['parameters_dense']:,} parameters, "
        f"trained in {result['train_seconds']:,.0f} s, "
        f"{result['tokens_per_second']:,.0f} tokens/s"
    ]
    for split, scores in result["scores"].items():
        for name, score in scores.items():
            lines.append(
                f"{split:<6} {name.replace('_', ' '):<15} {score['score']:6.2f}   "
                f"{score['signature']}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
