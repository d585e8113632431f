"""The file that fairseq-train starts from, looked at before fairseq reads it.

fairseq has no hook there, and a file that was cut off ends in a traceback that names neither the
reason nor what to do.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

from ..checkpoints.checkpoint import Checkpoint, peek
from ..data.dataspec import refuse_other_start, refuse_other_symbols
from ..errors import PruningError
from ..files import LAST, in_place_of
from ..heads.family import Family
from ..heads.layout import HeadLayout
from .flags import PruningConfig, training_flag
from .plan import budgets_of

logger = logging.getLogger(__name__)


def start_file(args: Any) -> Path | None:
    """The checkpoint that a training with these flags starts from; None where it starts afresh."""
    folder = training_flag(args, "save_dir")
    if not folder:
        return None
    restore = training_flag(args, "restore_file") or LAST
    path = Path(folder) / LAST if restore == LAST else Path(restore)
    tuned = training_flag(args, "finetune_from_model")
    if not path.exists() and tuned:
        path = Path(tuned)
    return path if path.is_file() else None


def check_start_file(args: Any, family: Family, layout: HeadLayout, task: Any) -> None:
    """Looks at the file that a training is about to start from, without reading its tensors.

    Args:
        args: the model's arguments, with the flags of the training.
        family: of the model that is trained.
        layout: its heads.
        task: fairseq's task of this training.

    Raises:
        PruningError: the file is cut off or no checkpoint, or the model has other heads, another
            structure, other dictionaries or other data, or is of a training for other budgets that
            goes on.
    """
    path = start_file(args)
    if path is None:
        _refuse_missing(args)
        return
    try:
        start = peek(path)
    except PruningError as error:
        raise PruningError(f"{error.message}; {_way_on(path, args)}") from None
    goes_on = path != Path(training_flag(args, "finetune_from_model") or "")
    if goes_on:
        _warn_of_other_batches(start, training_flag(args, "update_epoch_batch_itr"))
    try:
        stored = start.layout
    except PruningError:
        return  # of another kind of model, whose weights will not fit
    if stored.sites != layout.sites:
        return  # of other layers, which will not fit either
    if stored.heads != layout.heads:
        raise PruningError(
            f"{path} is of a model with {stored}, and this one has {layout}: give its own "
            "--encoder-attention-heads and --decoder-attention-heads"
        )
    if goes_on:
        _refuse_other_budget(start, args, layout)
    refuse_other_symbols(path, start.config("task"), task)
    for name in family.structure:
        own = getattr(args, name, None)
        found = getattr(start.args, name, family.defaults.get(name, own))
        if (found or None) != (own or None):
            raise PruningError(
                f"{path} is a model with --{name.replace('_', '-')} {found}, and this training has "
                f"{own}: its weights need the same"
            )
    pipelined = PruningConfig.from_namespace(args).pruning_mode == "pipelined"
    refuse_other_start(start.data_state, task, new_task=not (goes_on or pipelined))


def _refuse_other_budget(start: Checkpoint, args: Any, layout: HeadLayout) -> None:
    """fairseq compares each validation with the best of the training that goes on."""
    reset = any(training_flag(args, f"reset_{what}") for what in ("meters", "optimizer"))
    if reset or (start.state.get("extra_state") or {}).get("best") is None:
        return
    configs = [PruningConfig.from_namespace(own) for own in (start.args, args)]
    if any(config.kept_heads is not None for config in configs):
        return
    try:
        theirs, ours = (budgets_of(config, layout) for config in configs)
    except PruningError:
        return  # of a model without gates, which is refused where its weights are read
    if theirs != ours:
        had, asked = (" and ".join(map(str, budgets)) for budgets in (theirs, ours))
        raise PruningError(
            f"the training of {start.path} is for {had} heads, and this one for {asked}: its "
            "checkpoint_best.pt could stay the old one. Start from it by --finetune-from-model, in "
            "another --save-dir, or add --reset-meters"
        )


def _refuse_missing(args: Any) -> None:
    """A file that was named and is not there: fairseq would end in a traceback, or start afresh."""
    tuned, restore = (training_flag(args, name) for name in ("finetune_from_model", "restore_file"))
    if tuned:
        raise PruningError(f"there is no checkpoint {tuned} to start from (--finetune-from-model)")
    if restore not in (None, LAST):
        raise PruningError(f"there is no checkpoint {restore} to continue from (--restore-file)")


def _warn_of_other_batches(start: Checkpoint, fresh_batches: Any) -> None:
    """fairseq groups sentences into batches once a process, by the epoch that it starts in."""
    iterator = (start.state.get("extra_state") or {}).get("train_iterator") or {}
    if iterator.get("epoch", 1) > 1 and not fresh_batches:
        logger.warning(
            "resuming in epoch %d: fairseq regroups the batches, so results are not bit-identical "
            "to those of an uninterrupted training. To avoid this, train with "
            "--update-epoch-batch-itr True from the start",
            iterator["epoch"],
        )


def _way_on(path: Path, args: Any) -> str:
    if training_flag(args, "finetune_from_model") == str(path):
        return "give another --finetune-from-model"
    sound = newest_sound(path.parent)
    if sound is None:
        return f"{path.parent} holds no other intact checkpoint: remove it to start anew"
    newest, updates = sound
    if path.name != LAST:
        return f"the newest intact one is of update {updates}: --restore-file {newest}"
    copy = f"cp {shlex.quote(str(newest))} {shlex.quote(str(path))}"
    return (
        f"the newest intact one is {newest.name}, of update {updates}: continue from it by "
        f"{copy} and the same command again"
    )


def newest_sound(folder: Path) -> tuple[Path, int] | None:
    """The checkpoint of the most updates in a training's folder that is whole, and its updates.

    Raises:
        nothing: what cannot be read does not count.
    """
    found = []
    for path in folder.glob("checkpoint*.pt"):
        try:
            checkpoint = peek(path)
        except PruningError:
            continue
        found.append((checkpoint.updates, path.name != LAST, path.stat().st_mtime_ns, path))
    if not found:
        return None
    updates, _, _, path = max(found)
    return path, updates


def mend_checkpoints(folder: Path) -> None:
    """Lets a killed training go on: from the newest sound checkpoint, without those cut off.

    fairseq writes the first file of a save atomically and copies it to the other names.
    """
    broken = [path for path in folder.glob("checkpoint*.pt") if not zipfile.is_zipfile(path)]
    last = folder / LAST
    if last in broken and (sound := newest_sound(folder)):
        copy_whole(sound[0], last)
        broken.remove(last)
    for path in broken:
        path.unlink()


def copy_whole(source: Path, target: Path) -> None:
    """Copies a file so that the copy is whole or not there."""
    with in_place_of(target) as part:
        shutil.copyfile(source, part)
