"""``dsp-sweep``: a grid of methods, budgets and seeds over a recipe, one JSON line a run."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.console
import rich.live
import rich.table

from ..experiments.checks import check_flags, prepare_data
from ..experiments.commands import commands_of
from ..experiments.evaluation import Evaluation, evaluation_of
from ..experiments.execute import attempt
from ..experiments.grid import Grid, Job, jobs_of, load_grid
from ..experiments.launchers import LAUNCHERS, Launcher
from ..experiments.processes import interrupt, stop_all
from ..experiments.results import DENSE, RUNS_FILE
from ..experiments.run import BEST
from ..experiments.sweep import Progress, check_jobs, collect, is_dense_of, run_jobs
from .parser import CommandParser, command, number


def render_table(
    jobs: Sequence[Progress], results: Mapping[str, Mapping[str, Any]], evaluation: Evaluation
) -> Any:
    """The live table: one row a job."""
    table, short = rich.table.Table(), evaluation.short
    for name in ("run", "state", f"valid {short}", f"test {short}", "training s"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right")
    for progress in jobs:
        for name, _ in progress.job.results:
            result = results.get(name, {})
            scores = result.get("scores", {})
            shown = [
                f"{scores[split][evaluation.metric]['score']:.2f}" if split in scores else ""
                for split in ("valid", "test")
            ]
            seconds = f"{result['train_seconds']:.0f}" if result else ""
            table.add_row(name, progress.stage, *shown, seconds)
    return table


class Display:
    """Shows progress: a live table in a terminal, otherwise one line a change."""

    def __init__(self, grid: Grid, jobs: Sequence[Progress]) -> None:
        self.grid, self.jobs = grid, jobs
        self.evaluation = evaluation_of(grid.recipe)
        self.console = rich.console.Console()
        self.results: dict[str, Mapping[str, Any]] = {}
        self.said: dict[str, str] = {}
        self.done: int | None = None
        self.live: rich.live.Live | None = None

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live = rich.live.Live(console=self.console, auto_refresh=False, transient=True)
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live is not None:
            self.live.__exit__(*error)

    def update(self) -> None:
        """Writes new lines to ``runs.jsonl`` and shows where things stand."""
        done = sum(progress.done for progress in self.jobs)
        if done != self.done:
            lines = collect(self.grid, [progress.job for progress in self.jobs])
            self.results = {
                DENSE if is_dense_of(self.grid, line) else line["id"]: line
                for line in lines
                if line.get("recipe") == self.grid.recipe.name
            }
            self.done = done
        if self.live is not None:
            table = render_table(self._visible(), self.results, self.evaluation)
            table.caption = f"{done} of {len(self.jobs)} runs are done"
            self.live.update(table, refresh=True)
            return
        for progress in self.jobs:
            state = progress.stage.split(" ")[0]
            if state not in ("waiting", self.said.get(progress.job.id)):
                self.said[progress.job.id] = state
                print(f"{progress.job.id}: {state}", flush=True)

    def _visible(self) -> Sequence[Progress]:
        """All jobs, or if the terminal is too small for them those that are going on."""
        if sum(len(item.job.results) for item in self.jobs) + 6 <= self.console.height:
            return self.jobs
        return [item for item in self.jobs if item.stage not in ("done", "waiting")]

    def finish(self) -> None:
        """Prints the whole table; live, some rows may not have been shown."""
        console = self.console if self.console.is_terminal else rich.console.Console(width=100)
        console.print(render_table(self.jobs, self.results, self.evaluation))


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-sweep``."""
    parser = CommandParser(
        prog="dsp-sweep",
        description="""\
Run a recipe for a grid of methods, budgets and seeds. Finished runs are not repeated; runs.jsonl
has one JSON line for each.""",
        epilog="""A grid file:
  recipe: scripts/recipes/multi30k-pipelined.yaml
  folder: runs/mine
  methods:                              # name: flags of fairseq-train
    gumbel: {gate-estimator: gumbel}
    sigmoid: {gate-estimator: sigmoid, pruning-lr: 0.1}
    michel: {rank: {method: michel}}    # ranked without training, then fine-tuned
    many: {budgets: all}                # one training for all budgets
    fast: {head-costs: costs.yaml}      # budgets are in cost, prices from dsp-measure
  budgets: [6, 12, 24]
  seeds: [1, 2, 3]
  dense: runs/multi30k/dense            # or {recipe: FILE}, run first

example: dsp-sweep scripts/sweeps/multi30k-pipelined.yaml --jobs 2
The same command continues an interrupted sweep.""",
    )
    parser.add_argument("grid", type=Path, help="grid file")
    parser.add_argument(
        "--launcher",
        choices=list(LAUNCHERS),
        default="local",
        help="local: processes on this machine (default); submitit: jobs on a Slurm cluster",
    )
    parser.add_argument(
        "--jobs", type=number, default=1, metavar="J", help="runs at the same time (default: 1)"
    )
    parser.add_argument(
        "--threads", type=number, default=1, metavar="N", help="CPU threads per run (default: 1)"
    )
    parser.add_run_flags()
    args = parser.parse_args(argv)
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    grid = load_grid(args.grid, args.threads, args.user_dir)
    jobs = jobs_of(grid, args.threads)
    if args.dry_run:
        for job in jobs:
            check_flags(job.run.recipe, job.run.folder)
        for job in jobs:
            print(f"# {job.id}")
            print("\n".join(shlex.join(command) for command in commands_of(job.run)))
        return
    if args.prepare is not None:
        prepare_data(grid.recipe, args.prepare)
    check_jobs(grid, jobs)
    launcher = LAUNCHERS[args.launcher](attempt, grid.folder, args.jobs, grid.submitit)
    sys.exit(run_grid(grid, jobs, launcher))


def run_grid(grid: Grid, jobs: Sequence[Job], launcher: Launcher) -> int:
    """Runs a checked grid; returns the exit status."""
    progress = [Progress(job) for job in jobs]
    first = None
    if grid.dense is not None:
        best = str(grid.dense.folder / BEST)
        recipes = [job.run.recipe for job in jobs]
        first = progress[0] if any(best in (r.start, r.teacher) for r in recipes) else None
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with Display(grid, progress) as display:
            run_jobs(progress, launcher, launcher.limit, display.update, first)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        launcher.cancel()
        stop_all()
        print("dsp-sweep: interrupted: give the same command again to continue", file=sys.stderr)
        return 130
    display.finish()
    failed = [item for item in progress if item.error is not None]
    for item in failed:
        print(f"dsp-sweep: {item.job.id} failed: {item.error}", file=sys.stderr)
    print(f"{len(progress) - len(failed)} of {len(progress)} runs: {grid.folder / RUNS_FILE}")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
