"""``dsp-run``: one run of a recipe, from training to scores, that can be repeated from its file."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich.console
import yaml

from ..checkpoints.checkpoint import load_checkpoint, write_whole
from ..cli.parser import CommandParser
from ..errors import UsageError
from ..pruning.resume import LAST, copy_whole, mend_checkpoints, updates_of
from .checks import check_folder, check_machine, check_run, prepare_data
from .processes import locked, run_logged
from .recipe import (
    check_flags,
    generate_command,
    parse_assignments,
    score_heads_command,
    train_command,
    train_flags,
)
from .result import read_result, render, summarise
from .run import (
    BEST,
    LOG_FILE,
    RESULT_FILE,
    RUN_FILE,
    Run,
    Target,
    commands_of,
    default_folder,
    describe,
    is_done,
    max_update,
    on_cpu,
    read_run,
    stage_of,
    targets_of,
    unfinished,
)


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
        if not (run.folder / BEST).exists():
            copy_whole(run.folder / "scored.pt", run.folder / BEST)
        return
    if not has_trained(run):
        _step(run, train_command(run.recipe, run.folder, on_cpu(run)), log, log, lock)
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
    part = unfinished(target, split)
    log = target.folder / f"{split}.log"
    for path in (part, log):
        path.unlink(missing_ok=True)
    command = generate_command(run.recipe, best, split, on_cpu(run), target.budget)
    _step(run, command, part, log, lock)
    os.replace(part, output)


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


def add_prepare_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of ``dsp-run`` and ``dsp-sweep`` that has missing data made."""
    parser.add_argument(
        "--prepare",
        nargs="?",
        const="",
        metavar="FROM",
        help="make missing data first, by the recipe's own command; FROM is its --from, where the "
        "raw text is (Multi30k and IWSLT14; default: it is downloaded)",
    )


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


if __name__ == "__main__":
    main()
