"""Exporting a training checkpoint: without the weights of closed heads, in a format of choice."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..analysis.ranked import Ranked, rank_and_repair
from ..analysis.ranking import RankingOptions
from ..checkpoints.checkpoint import RANKED_BY, REPAIRED, SIGNATURE, Checkpoint, load_checkpoint
from ..checkpoints.formats import LAST_CHANGE_KEY
from ..checkpoints.weights import count_bytes, count_parameters, expand_weights
from ..data.dataspec import DataSpec, data_folders, refuse_other_dictionaries
from ..errors import PruningError
from ..estimators import ESTIMATORS
from ..evaluation.predictions import SameClasses, predict, same_classes
from ..files import file_hash, in_place_of, refuse_existing
from ..heads.head_map import HeadMap
from ..pruning.flags import PruningConfig
from .exporter import EXPORTERS, Exporter, FormatOptions, Order
from .parity import Agreement, agree, direction_of, translate

_PLAIN = FormatOptions()
_Comparison = Callable[[Exporter, Order, Path], Agreement | SameClasses]


@dataclass(frozen=True)
class Export:
    """What an export did.

    Attributes:
        head_map: the heads that were kept.
        signature: where they come from.
        parameters, bytes: before and after.
        notes: what the format says of it.
        agreement: what the check found.
    """

    head_map: HeadMap
    signature: str
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    notes: list[str]
    agreement: Agreement | SameClasses | None


def export_checkpoint(
    source: Path,
    output: Path,
    format: str,
    num_of_heads: str | None = None,
    options: FormatOptions = _PLAIN,
    check: Path | None = None,
) -> Export:
    """Exports a training checkpoint.

    Args:
        source: a checkpoint that fairseq-train wrote for a gated model.
        output: a new file or folder.
        format: one of :data:`~dsp_fairseq.export.exporter.EXPORTERS`.
        num_of_heads: the budget, where the checkpoint is not frozen (default: the trained one).
        options: what the format is told.
        check: data whose test split both models translate or classify.

    Raises:
        PruningError: the output exists, the checkpoint cannot be exported, or the check not be run.
    """
    refuse_existing(output)
    checkpoint = load_checkpoint(source)
    if SIGNATURE in checkpoint.state:
        raise PruningError(f"{source} is exported already: give the training checkpoint")
    for data in (options.data, check):
        if data is not None:
            refuse_other_dictionaries(source, checkpoint.config("task"), data)
    head_map = checkpoint.head_map(num_of_heads)
    if head_map.importance is None:
        # An exported model that was trained further.
        weights = expand_weights(checkpoint.weights, head_map.layout, head_map.mask)
        checkpoint = Checkpoint(source, {**checkpoint.state, "model": weights})
    with in_place_of(output) as part:
        compare = _comparison(checkpoint, check, num_of_heads) if check else None
        export = write_export(checkpoint, head_map, format, output, part, options)
        if compare:
            order = Order(checkpoint, head_map, export.signature, options)
            export = replace(export, agreement=compare(EXPORTERS[format], order, part))
    return export


def prune_checkpoint(
    source: Path,
    output: Path,
    data: Path,
    options: RankingOptions,
    format: str = "pruned",
    format_options: FormatOptions = _PLAIN,
) -> tuple[Ranked, Export]:
    """Ranks the heads of a dense checkpoint, repairs what is left and exports it.

    Args:
        source: of a dense model of a known family, or of a gated one with K = N.
        output: a new file or folder.
        data: folder of the dictionaries, and of the split that is looked at.
        options: the method, K, how much is repaired on, and more.
        format: one of :data:`~dsp_fairseq.export.exporter.EXPORTERS`.
        format_options: what it is told; its dictionaries are those of the data.

    Raises:
        PruningError: the output exists, or the checkpoint, the data, the budget or the format do
            not do.
    """
    refuse_existing(output)
    with in_place_of(output) as part:
        ranked = rank_and_repair(source, data, options)
        told = replace(format_options, data=data_folders(str(data))[0])
        export = write_export(ranked.checkpoint, ranked.head_map, format, output, part, told)
    return ranked, export


def write_export(
    checkpoint: Checkpoint,
    head_map: HeadMap,
    format: str,
    output: Path,
    part: Path,
    options: FormatOptions = _PLAIN,
) -> Export:
    """Writes the file or folder ``part``, which will be called ``output``.

    Args:
        checkpoint: in memory, with the weights of all heads; its file goes into the signature.
        head_map: the heads to keep.
        format, options: as in :func:`export_checkpoint`.

    Raises:
        PruningError: the format cannot hold this model.
    """
    weights, signature = checkpoint.weights, _signature(checkpoint, head_map)
    order = Order(checkpoint, head_map, signature, options)
    parameters = EXPORTERS[format].write(order, output, part)
    return Export(
        head_map,
        signature,
        (count_parameters(weights), parameters),
        (count_bytes(weights), _size(part)),
        EXPORTERS[format].notes(order),
        None,
    )


def _comparison(checkpoint: Checkpoint, data: Path, num_of_heads: str | None) -> _Comparison:
    """Has the checkpoint answer to the test split, to be compared with what an export answers."""
    if not checkpoint.family.translates:
        # On the CPU, as translations are: there the answers of two equal models are equal.
        ask = partial(predict, cpu=True)
        answers = ask(checkpoint.path, data, "test", num_of_heads)

        def compare(exporter: Exporter, order: Order, part: Path) -> SameClasses:
            other = exporter.classifier(part, order)
            if other is None:
                return same_classes(answers, ask(part, data, "test"))
            again = ask(checkpoint.path, data, "test", num_of_heads, other=other)
            return same_classes(answers, again)

        return compare
    _check_data(checkpoint, data)
    direction = direction_of(checkpoint.config("task"))
    original = translate(checkpoint.path, data, direction, budget=num_of_heads)
    return lambda exporter, order, part: agree(original, exporter.translate(part, original))


def _check_data(checkpoint: Checkpoint, data: Path) -> None:
    if os.pathsep in str(data) and not data.exists():
        raise PruningError(f"--check {data} names several folders: give the one of the test split")
    spec = DataSpec.of(checkpoint.config("task"))
    if spec.is_translation:
        spec.check_split(data, "test")


def _signature(checkpoint: Checkpoint, head_map: HeadMap) -> str:
    args = checkpoint.args
    given = (getattr(args, "gate_seed", None), getattr(args, "seed", None))
    seeds = [seed for seed in (*given, checkpoint.config("common").get("seed")) if seed is not None]
    method = checkpoint.state.get(RANKED_BY) or PruningConfig.from_namespace(args).gate_estimator
    repaired = checkpoint.state.get(REPAIRED)
    tuned = checkpoint.config("checkpoint").get("finetune_from_model")
    learns = method in ESTIMATORS and ESTIMATORS[method].learns
    if learns and tuned and not checkpoint.weights.get(LAST_CHANGE_KEY):
        # The training began with heads that were chosen before.
        method = "given"
    return "|".join(
        [
            f"K:{head_map.budget}",
            f"N:{head_map.layout.num_heads}",
            f"method:{method}",
            *([f"repair:{repaired}"] if repaired else []),
            f"frozen:{'yes' if head_map.frozen else 'no'}",
            f"seed:{seeds[0] if seeds else None}",
            f"sha256:{file_hash(checkpoint.path)[:12]}",
        ]
    )


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
