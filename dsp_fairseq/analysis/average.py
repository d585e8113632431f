"""The mean of checkpoints that keep the same heads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..checkpoints.checkpoint import SIGNATURE, Checkpoint, load_checkpoint
from ..checkpoints.formats import GATES
from ..checkpoints.validation import UNINITIALISED
from ..errors import PruningError
from ..files import in_place_of, refuse_existing
from ..heads.family import architecture
from ..heads.head_map import HeadMap

IMPORTANCE = f"{GATES}importance"
LAST_CHANGE = f"{GATES}last_change"

MOST_NAMED = 8
"""How many heads that differ a message names."""


# ---- which checkpoints


@dataclass(frozen=True)
class _Member:
    """What has to agree between the checkpoints of one average.

    Attributes:
        path: the file.
        heads: its heads, or None for a model without gates, such as fairseq's own.
        standing: ``dense``, ``frozen`` or ``exported``.
        structure: names and values of the family's, and the architecture.
        tensors: per name its shape and dtype, and the first name that shares its memory.
        fixed: the tensors that must be equal: integers, and gates other than importance.
        num_updates: how long it was trained, in updates.
    """

    path: Path
    heads: HeadMap | None
    standing: str
    structure: dict[str, Any]
    tensors: dict[str, tuple[torch.Size, torch.dtype, str]]
    fixed: dict[str, Tensor]
    num_updates: int


def _member(checkpoint: Checkpoint) -> _Member:
    path, args, weights = checkpoint.path, checkpoint.args, checkpoint.weights
    heads = checkpoint.head_map() if checkpoint.has_gates or checkpoint.lacks_heads else None
    if heads is None:
        standing = "dense"
    elif not checkpoint.has_gates:
        standing = "exported"
    elif heads.frozen:
        standing = "frozen"
    elif heads.budget in (0, heads.layout.num_heads):
        standing = "dense"
    else:
        raise PruningError(
            f"{path} is not frozen: which {heads.budget} of {heads.layout.num_heads} heads it "
            "keeps is not final yet, so their weights have no common mean; average checkpoints "
            "from after the freeze"
        )
    structure = {name: getattr(args, name, None) for name in checkpoint.family.structure}
    firsts = _first_names(weights)
    return _Member(
        path,
        heads,
        standing,
        {"architecture": architecture(args), **structure},
        {name: (value.shape, value.dtype, firsts[name]) for name, value in weights.items()},
        {name: value for name, value in weights.items() if _is_fixed(name, value)},
        checkpoint.updates,
    )


def _is_fixed(name: str, value: Tensor) -> bool:
    if name.startswith(GATES):
        return name not in (IMPORTANCE, LAST_CHANGE)
    return not value.is_floating_point()


def _first_names(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Per name the first one of the same memory: tied embeddings are stored once."""
    seen: dict[tuple[int, torch.Size], str] = {}
    return {
        name: seen.setdefault((value.data_ptr(), value.shape), name) if value.numel() else name
        for name, value in weights.items()
    }


def _check_same(first: _Member, other: _Member) -> None:
    """Raises a PruningError with the reason why the two have no common mean."""
    a, b = first.path, other.path
    if first.standing != other.standing:
        raise PruningError(
            f"{a} is {first.standing} and {b} is {other.standing}: average checkpoints of one kind"
        )
    for name, value in first.structure.items():
        if other.structure[name] != value:
            raise PruningError(
                f"{a} and {b} are different models: {name} is {value} and {other.structure[name]}"
            )
    if first.heads is not None and other.heads is not None:
        _check_same_heads(a, first.heads, b, other.heads)
    for name in [*first.tensors, *(name for name in other.tensors if name not in first.tensors)]:
        if first.tensors.get(name) != other.tensors.get(name):
            raise PruningError(
                f"{a} and {b} are different models: {name} is {_described(first, name)} and "
                f"{_described(other, name)}"
            )
    for name, value in first.fixed.items():
        if not torch.equal(value, other.fixed[name]):
            raise PruningError(f"{a} and {b} have no common mean: {name} differs")


def _check_same_heads(a: Path, ours: HeadMap, b: Path, theirs: HeadMap) -> None:
    if ours.layout.sites != theirs.layout.sites or ours.layout.heads != theirs.layout.heads:
        raise PruningError(f"{a} and {b} are different models: {ours.layout} and {theirs.layout}")
    if torch.equal(ours.mask, theirs.mask):
        return
    parts = []
    for path, more, less in ((a, ours, theirs), (b, theirs, ours)):
        names = [
            f"{site} head {head}"
            for site, heads in ours.layout.kept(more.mask * (1 - less.mask)).items()
            for head in heads
        ]
        rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        if names:
            parts.append(f"only {path} keeps {', '.join(names[:MOST_NAMED])}{rest}")
    raise PruningError(
        f"{a} and {b} keep different heads, whose mean would be a model of neither: "
        f"{'; '.join(parts)}"
    )


def _described(member: _Member, name: str) -> str:
    if name not in member.tensors:
        return "absent"
    shape, dtype, tied_to = member.tensors[name]
    tie = "" if tied_to == name else f", tied to {tied_to}"
    return f"{list(shape)} in {str(dtype).removeprefix('torch.')}{tie}"


# ---- the mean


@dataclass(frozen=True)
class Average:
    """What was averaged.

    Attributes:
        heads: the heads of all the checkpoints, or None for a model without gates.
        standing: ``dense``, ``frozen`` or ``exported``.
        num_updates: the number of updates of each checkpoint.
    """

    heads: HeadMap | None
    standing: str
    num_updates: tuple[int, ...]


def average_checkpoints(paths: Sequence[Path], output: Path) -> Average:
    """Writes the mean of checkpoints of one model with one final set of heads.

    Sums are in float64, results in the weights' own dtype. Optimizer state is dropped, so the
    result is for generation, export and ``--finetune-from-model``, not for resuming; everything
    else is that of the checkpoint that was trained longest. ``head_gates.importance`` is averaged
    as a weight is, ``head_gates.last_change`` is the largest, all other state of the gates must
    be equal.

    Args:
        paths: checkpoints of fairseq-train or of ``dsp-export``; one at a time is in memory.
        output: a new file.

    Raises:
        PruningError: the output exists, or the checkpoints have no common mean, and why.
    """
    refuse_existing(output)
    resolved = [path.resolve() for path in paths]
    for path in paths:
        if resolved.count(path.resolve()) > 1:
            raise PruningError(f"{path} is given twice: it would count double")
    members: list[_Member] = []
    sums: dict[str, Tensor] = {}
    last_changes: list[Tensor] = []
    for path in tqdm(paths, desc="averaging", unit="checkpoint", disable=len(paths) == 1 or None):
        checkpoint = load_checkpoint(path)
        member = _member(checkpoint)
        if members:
            _check_same(members[0], member)
        if not members or member.num_updates > max(each.num_updates for each in members):
            result = checkpoint.derive(output, {})
        members.append(member)
        for name, value in checkpoint.weights.items():
            if name == LAST_CHANGE:
                last_changes.append(value)
            elif name not in member.fixed and member.tensors[name][2] == name:
                total = sums.get(name)
                sums[name] = value.double() if total is None else total.add_(value.double())
    first = members[0]
    means = {name: _mean(name, total, first, len(paths)) for name, total in sums.items()}
    for name, (_, _, tied_to) in first.tensors.items():
        if name == LAST_CHANGE:
            result.weights[name] = torch.stack(last_changes).max(0).values
        else:
            result.weights[name] = first.fixed[name] if name in first.fixed else means[tied_to]
    if SIGNATURE in result.state:
        result.state[SIGNATURE] += f"|averaged:{len(paths)}"
    with in_place_of(output) as part:
        result.save(part)
    return Average(first.heads, first.standing, tuple(member.num_updates for member in members))


def _mean(name: str, total: Tensor, first: _Member, number: int) -> Tensor:
    if not (name.endswith(UNINITIALISED) or bool(total.isfinite().all())):
        raise PruningError(f"{name} is not finite in one of the checkpoints: its training diverged")
    return (total / number).to(first.tensors[name][1])


# ---- the newest of a run


def newest_checkpoints(folder: Path, number: int) -> list[Path]:
    """The newest numbered checkpoints of a run, oldest of them first.

    Numbered are ``checkpoint3.pt``, the end of epoch 3, and ``checkpoint_3_1200.pt``, update 1200
    within it; ``checkpoint_last.pt`` and ``checkpoint_best.pt`` are copies of these.

    Raises:
        PruningError: no such folder, or it has fewer.
    """
    if not folder.is_dir():
        raise PruningError(f"{folder} is not a folder: --last needs the --save-dir of a run")
    numbered = sorted(_numbered(folder.iterdir()))
    if number < 1:
        raise PruningError(f"--last {number}: give a number of checkpoints from 1 on")
    if len(numbered) < number:
        raise PruningError(
            f"{folder} has {len(numbered)} numbered checkpoints, not {number}: train without "
            "--no-epoch-checkpoints, or with --save-interval-updates"
        )
    return [path for _, _, path in numbered[-number:]]


def _numbered(paths: Iterable[Path]) -> Iterable[tuple[int, float, Path]]:
    for path in paths:
        if match := re.fullmatch(r"checkpoint(\d+)\.pt", path.name):
            yield int(match[1]), float("inf"), path
        elif match := re.fullmatch(r"checkpoint_(\d+)_(\d+)\.pt", path.name):
            yield int(match[1]), int(match[2]), path
