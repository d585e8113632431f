"""``dsp-run``: one run of a recipe, from training to scores, that can be repeated from its file."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import rich.console

from ..errors import PruningError
from ..experiments.checks import check_flags, prepare_data
from ..experiments.commands import commands_of
from ..experiments.execute import execute
from ..experiments.logs import LOG_FILE
from ..experiments.processes import interrupt
from ..experiments.progress import stage_of
from ..experiments.recipe import parse_assignments
from ..experiments.run import Run, default_folder, is_done, read_run
from ..experiments.summary import render
from .parser import CommandParser, command, number


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="dsp-run",
        description="""\
Train the model of a recipe, translate or classify with it and score it. Settings (run.yaml) and
scores (result.json) are written beside the checkpoints. The same command continues an interrupted
run; a run.yaml repeats a run.""",
        epilog="""examples:
  dsp-run scripts/recipes/multi30k-dense.yaml
  dsp-run scripts/recipes/multi30k-joint.yaml --num-of-heads 12
  dsp-run scripts/recipes/multi30k-joint.yaml --num-of-heads 12 --set gate-estimator=sigmoid \\
      --save-dir runs/sigmoid
  dsp-run runs/sigmoid/run.yaml --save-dir runs/sigmoid-again""",
    )
    parser.add_argument("recipe", type=Path, help="a recipe, or the run.yaml of an earlier run")
    parser.add_argument(
        "--num-of-heads",
        metavar="K",
        help="budget (in cost: --set head-costs=FILE --set cost-budget=C)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="seed of weights, noise and data order"
    )
    parser.add_argument(
        "--save-dir",
        type=Path,
        metavar="DIR",
        help="folder of the run (default: that of the recipe, or runs/NAME/kK-sSEED, for a budget "
        "in cost runs/NAME/cC-sSEED)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FLAG=VALUE",
        help="set a flag of fairseq-train; FLAG=true sets one without a value, FLAG= removes one; "
        "can be repeated",
    )
    parser.add_argument(
        "--processes",
        type=number,
        metavar="P",
        help="processes that train together, one per GPU",
    )
    parser.add_argument(
        "--threads", type=number, metavar="N", help="CPU threads per process (default: 1)"
    )
    parser.add_run_flags()
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-run``."""
    args = _parser().parse_args(argv)
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
        raise PruningError("interrupted: give the same command again to continue") from None
    except OSError as error:  # such as a full disk
        raise PruningError(
            f"{error.filename or run.folder}: {error.strerror or error}; fix that and give the "
            "same command again to continue"
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


def with_arguments(run: Run, args: argparse.Namespace) -> Run:
    """The run with what the command line changes."""
    flags = parse_assignments(args.set)
    if args.num_of_heads is not None:
        flags["num-of-heads"] = args.num_of_heads
    if args.seed is not None:
        flags["seed"] = args.seed
    recipe = run.recipe.with_train(flags).with_package(args.user_dir)
    if args.processes is not None:
        recipe = replace(recipe, processes=args.processes)
    is_recipe = run.data_sha256 is None
    folder = args.save_dir or (default_folder(recipe) if is_recipe else run.folder)
    same_package = recipe.own_folder == run.recipe.own_folder
    return replace(
        run,
        recipe=recipe,
        folder=folder,
        threads=args.threads or run.threads,
        package_sha256=run.package_sha256 if same_package else None,
    )


if __name__ == "__main__":
    main()
