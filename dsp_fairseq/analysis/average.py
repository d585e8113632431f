"""The mean of checkpoints that keep the same heads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.checkpoint import SIGNATURE, Checkpoint, load_checkpoint
from ..checkpoints.formats import GATES, trained_budgets
from ..checkpoints.validation import UNINITIALISED
from ..checkpoints.weights import digest_of
from ..data.dataspec import DataSpec, data_folders
from ..errors import PruningError, shortened
from ..files import in_place_of, refuse_existing
from ..heads.family import architecture
from ..heads.head_map import HeadMap
from ..modules.head_rows import rows_of
from ..progress import progress

_IMPORTANCE, _LAST_CHANGE = f"{GATES}importance", f"{GATES}last_change"
_MOST_NAMED = 8
"""How many heads that differ a message names."""


# ---- which checkpoints have a mean


@dataclass(frozen=True)
class _Member:
    """A checkpoint of an average, and what has to agree between all of them.

    Attributes:
        standing: ``dense``, ``frozen`` or ``exported``.
        head_maps: its own, then those of its other budgets; none for a dense model without gates,
            such as fairseq's own.
        structure: the architecture, the family's arguments that change the function, and what
            the checkpoint says of its data and languages.
        tensors: per name its shape and dtype, and the first name that shares its memory.
        fixed: the tensors that must be equal: integers, and gates other than importance.
        digest: of all weights.
    """

    path: Path
    updates: int
    standing: str
    head_maps: tuple[HeadMap, ...]
    structure: dict[str, Any]
    tensors: dict[str, tuple[torch.Size, torch.dtype, str]]
    fixed: dict[str, Tensor]
    digest: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> _Member:
        args, weights = checkpoint.args, checkpoint.weights
        standing = _standing(checkpoint)
        seen: dict[tuple[int, torch.Size], str] = {}
        tensors = {
            name: (
                value.shape,
                value.dtype,
                seen.setdefault((value.data_ptr(), value.shape), name) if value.numel() else name,
            )
            for name, value in weights.items()
        }
        structure = {name: getattr(args, name, None) for name in checkpoint.family.structure}
        return cls(
            checkpoint.path,
            checkpoint.updates,
            standing,
            _head_maps(checkpoint, standing),
            {
                "architecture": architecture(args),
                **structure,
                **_languages(checkpoint),
                **checkpoint.data_state,
            },
            tensors,
            {name: value for name, value in weights.items() if _is_fixed(name, value)},
            digest_of(weights),
        )

    def described(self, name: str) -> str:
        if name not in self.tensors:
            return "absent"
        shape, dtype, tied_to = self.tensors[name]
        tie = "" if tied_to == name else f", tied to {tied_to}"
        return f"{list(shape)} in {str(dtype).removeprefix('torch.')}{tie}"


def _languages(checkpoint: Checkpoint) -> dict[str, Any]:
    """Source and target language, where the flags or the data, if still there, say them."""
    config = checkpoint.config("task")
    spec, folder = DataSpec.of(config), config.get("data")
    sides = ("source_lang", "target_lang")
    known = {side: spec.flags[side] for side in sides if side in spec.flags}
    if spec.is_translation and len(known) < len(sides) and isinstance(folder, str) and folder:
        with suppress(PruningError):
            return dict(zip(sides, spec.direction(data_folders(folder)[0]), strict=True))
    return known


def _standing(checkpoint: Checkpoint) -> str:
    if not checkpoint.has_gates:
        return "exported" if checkpoint.is_export else "dense"
    heads = checkpoint.head_map()
    if heads.frozen:
        return "frozen"
    number = heads.layout.num_heads
    open_choices = [k for k in _budgets(checkpoint) if k not in (0, number)]
    if not open_choices:
        return "dense"
    raise PruningError(
        f"{checkpoint.path} is not frozen: which {open_choices[0]} of {number} heads "
        "it keeps is not final yet, so their weights have no common mean; average checkpoints "
        "from after the freeze"
    )


def _budgets(checkpoint: Checkpoint) -> list[int]:
    return trained_budgets(checkpoint.weights[f"{GATES}budgets"])


def _head_maps(checkpoint: Checkpoint, standing: str) -> tuple[HeadMap, ...]:
    """The first is the checkpoint's own, the others are of its further budgets."""
    if not (checkpoint.has_gates or checkpoint.lacks_heads):
        return (_zeroed(checkpoint),) if checkpoint.is_export else ()
    own = checkpoint.head_map()
    if standing != "frozen":
        return (own,)
    return own, *(checkpoint.head_map(k) for k in _budgets(checkpoint) if k != own.budget)


def _zeroed(checkpoint: Checkpoint) -> HeadMap:
    """The heads of an export in the dense shape: those that are closed are zeros."""
    layout, weights = checkpoint.layout, checkpoint.weights
    mask = []
    for site, heads in zip(layout.sites, layout.heads, strict=True):
        rows = rows_of(weights, f"{site.module_name}.").values()
        mask.append(torch.stack([x.reshape(heads, -1).any(dim=1) for x in rows]).any(dim=0))
    open_heads = torch.cat(mask).float()
    return HeadMap(layout, None, open_heads, frozen=True, budget=int(open_heads.sum()))


def _is_fixed(name: str, value: Tensor) -> bool:
    if name.startswith(GATES):
        return name not in (_IMPORTANCE, _LAST_CHANGE)
    return not value.is_floating_point()


def _check_same(first: _Member, other: _Member) -> None:
    """Raises a PruningError with the reason why the two have no common mean."""
    a, b = first.path, other.path
    if first.standing != other.standing:
        raise PruningError(
            f"{a} is {first.standing} and {b} is {other.standing}: average checkpoints of one kind"
        )
    different = f"{a} and {b} are different models: "
    for name, value in first.structure.items():
        found = other.structure.get(name, value)
        if found != value:
            raise PruningError(f"{different}{name} is {value} and {found}")
    if first.head_maps and other.head_maps:
        ours, theirs = first.head_maps[0], other.head_maps[0]
        layouts = ours.layout, theirs.layout
        if len({(layout.sites, layout.heads) for layout in layouts}) > 1:
            raise PruningError(f"{different}{layouts[0]} and {layouts[1]}")
        for one, two in zip(first.head_maps, other.head_maps, strict=False):
            if one is ours or one.budget == two.budget:  # budgets are compared as tensors are
                _check_same_mask((first.path, one), (other.path, two))
    for name in {**first.tensors, **other.tensors}:
        if first.tensors.get(name) != other.tensors.get(name):
            raise PruningError(
                f"{different}{name} is {first.described(name)} and {other.described(name)}"
            )
    for name, value in first.fixed.items():
        if not torch.equal(value, other.fixed[name]):
            raise PruningError(f"{a} and {b} have no common mean: {name} differs")


def _check_same_mask(first: tuple[Path, HeadMap], other: tuple[Path, HeadMap]) -> None:
    parts = []
    for (path, own), (_, against) in ((first, other), (other, first)):
        kept = own.layout.kept(own.mask * (1 - against.mask))
        names = [f"{site} head {head}" for site, heads in kept.items() for head in heads]
        if names:
            parts.append(f"only {path} keeps {shortened(names, _MOST_NAMED)}")
    if parts:
        raise PruningError(
            f"{first[0]} and {other[0]} keep different heads, whose mean would be a model of "
            f"neither: {'; '.join(parts)}"
        )


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
    members: list[_Member] = []
    sums: dict[str, Tensor] = {}
    for path in progress(paths, len(paths), "averaging", "checkpoints"):
        checkpoint = load_checkpoint(path)
        member = _Member.of(checkpoint)
        if members:
            _check_same(members[0], member)
        for other in members:
            if other.digest == member.digest:
                raise PruningError(
                    f"{other.path} and {path} hold the same weights: they would count double"
                )
        if all(member.updates > other.updates for other in members):
            result = checkpoint.derive(output, {})
        members.append(member)
        _add(sums, member, checkpoint.weights)
    first = members[0]
    for name, (_, dtype, tied_to) in first.tensors.items():
        if name == _LAST_CHANGE:
            result.weights[name] = sums[name]
        elif name in first.fixed:
            result.weights[name] = first.fixed[name]
        elif tied_to == name:
            result.weights[name] = _mean(name, sums[name], len(paths)).to(dtype)
        else:
            result.weights[name] = result.weights[tied_to]
    if SIGNATURE in result.state:
        result.state[SIGNATURE] += f"|averaged:{len(paths)}"
    with in_place_of(output) as part:
        result.save(part)
    heads = first.head_maps[0] if first.head_maps else None
    return Average(heads, first.standing, tuple(member.updates for member in members))


def _add(sums: dict[str, Tensor], member: _Member, weights: Mapping[str, Tensor]) -> None:
    """Adds up weights, those of tied embeddings once; of last changes the last is kept."""
    for name, value in weights.items():
        if name == _LAST_CHANGE:
            sums[name] = torch.maximum(value, sums.get(name, value))
        elif name not in member.fixed and member.tensors[name][2] == name:
            sums[name] = sums[name].add_(value.double()) if name in sums else value.double()


def _mean(name: str, total: Tensor, number: int) -> Tensor:
    if not (name.endswith(UNINITIALISED) or bool(total.isfinite().all())):
        raise PruningError(f"{name} is not finite in one of the checkpoints: its training diverged")
    return total / number


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
    numbered = sorted(_numbered(folder))
    if number < 1:
        raise PruningError(f"--last {number} must be 1 or more")
    if len(numbered) < number:
        raise PruningError(
            f"{folder} has {len(numbered)} numbered checkpoints, not {number}: train without "
            "--no-epoch-checkpoints, or with --save-interval-updates"
        )
    return [path for _, _, path in numbered[-number:]]


def _numbered(folder: Path) -> Iterator[tuple[int, float, Path]]:
    """Epoch, update (infinite at its end) and path."""
    for path in folder.iterdir():
        if match := re.fullmatch(r"checkpoint(?:(\d+)|_(\d+)_(\d+))\.pt", path.name):
            yield int(match[1] or match[2]), float(match[3] or "inf"), path
