"""The result of a run: what ``result.json`` holds, found out from the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoints.checkpoint import Checkpoint, load_checkpoint, peek
from ..checkpoints.weights import count_parameters, slice_weights
from ..files import LAST
from ..pruning.flags import PruningConfig
from .commands import start_of
from .evaluation import DEFAULT_TASK, EVALUATIONS, evaluation_of
from .recipe import Recipe
from .record import read_record
from .run import BEST, Run, Target, targets_of


def summarise(run: Run, target: Target) -> dict[str, Any]:
    """The result of a run whose files are all there, as one JSON object."""
    recipe, folder = run.recipe, target.folder
    evaluation, data = evaluation_of(recipe), Path(recipe.data)
    scores = {split: evaluation.score(folder, data, split) for split in recipe.evaluate}
    best = load_checkpoint(run.folder / BEST)
    head_map = best.head_map(target.budget)
    layout = head_map.layout
    kept: dict[str, list[list[int]]] = {kind: [] for kind in layout.kinds()}
    for site, heads in head_map.kept.items():
        kept[site.kind].append(heads)
    heads_per_layer = {
        site.kind: count for site, count in zip(layout.sites, layout.heads, strict=True)
    }
    return {
        "id": folder.resolve().name,
        "recipe": recipe.name,
        "task": evaluation.task,
        "method": "dense" if head_map.budget == layout.num_heads else method_of(recipe),
        "budget": head_map.budget,
        # It decided how many heads are kept, where the budget is in cost.
        "cost_budget": None if recipe.cost_budget is None else float(recipe.cost_budget),
        "num_heads": layout.num_heads,
        # With all heads or none there is nothing to freeze.
        "frozen": head_map.frozen or head_map.margin is None,
        "seed": recipe.seed,
        "folder": ".",
        "parameters": count_parameters(slice_weights(best.weights, layout, head_map.mask)),
        "parameters_dense": count_parameters(best.weights),
        "train_seconds": train_seconds(run),
        **evaluation.speed(folder, recipe.evaluate[-1]),
        # Training validates with the first budget only.
        "valid_loss": valid_loss(best) if target == targets_of(run)[0] else None,
        "scores": scores,
        "kept": kept,
        "heads_per_layer": heads_per_layer,
    }


def method_of(recipe: Recipe) -> str:
    """How heads are chosen, in one word."""
    if recipe.rank is not None:
        return str(recipe.rank["method"])
    return str(recipe.train.get("gate-estimator", PruningConfig().gate_estimator))


def train_seconds(run: Run) -> float:
    """Seconds of training with validation, over all continuations, without those of the start."""
    last = run.folder / LAST
    if not last.exists():
        return 0.0
    # fairseq goes on counting from what the checkpoint it started from had used.
    before = read_record(run.folder).start_seconds
    if before is None:
        before = start_seconds(run)
    return round(_seconds_of(last) - before, 1)


def start_seconds(run: Run) -> float:
    """Seconds of training behind the checkpoint that a run starts from; 0 without one."""
    start = start_of(run.recipe, run.folder)
    return _seconds_of(start) if start and start.exists() else 0.0


def _seconds_of(checkpoint: Path) -> float:
    """Seconds of training behind a checkpoint, with those of what it was started from."""
    extra = peek(checkpoint).state.get("extra_state") or {}
    return float(extra.get("previous_training_time", 0.0))


def valid_loss(best: Checkpoint) -> float | None:
    """Validation loss of the best checkpoint; None where it was not chosen by that."""
    chosen_by = best.config("checkpoint").get("best_checkpoint_metric")
    loss = (best.state.get("extra_state") or {}).get("val_loss")
    return float(loss) if loss is not None and chosen_by == "loss" else None


def render(result: Mapping[str, Any]) -> str:
    """A few lines for a person."""
    # Results of earlier versions do not say all of it.
    evaluation = EVALUATIONS[result.get("task", DEFAULT_TASK)]
    speed = result.get("tokens_per_second")
    lines = [
        f"{result['budget']} of {result['num_heads']} heads"
        f"{'' if result.get('frozen', True) else ', not frozen in the best checkpoint'}, "
        f"{result['parameters']:,} of {result['parameters_dense']:,} parameters, "
        f"trained in {result['train_seconds']:,.0f} s"
        f"{f', {speed:,.0f} tokens/s' if speed else ''}"
    ]
    for split, scores in result["scores"].items():
        for name, score in scores.items():
            lines.append(f"{split:<6} {name.replace('_', ' '):<15} {evaluation.describe(score)}")
    return "\n".join(lines)
