"""How far a run is, from its files."""

from __future__ import annotations

from .commands import max_update
from .evaluation import evaluation_of
from .logs import updates_done
from .run import Run, is_done, targets_of, unfinished


def stage_of(run: Run) -> str:
    """How far a run is, from its files: starting, training U of M, evaluating, or done."""
    if is_done(run):
        return "done"
    for target in targets_of(run):
        for split in run.recipe.evaluate:
            if unfinished(target, split).exists():
                at = f" with {target.budget} heads" if target.budget else ""
                return f"{evaluation_of(run.recipe).doing} {split}{at}"
    done, of = updates_done(run.folder), max_update(run)
    if done is None:
        return "starting"
    return f"training {done:,}" + (f" of {of:,}" if of else "")
