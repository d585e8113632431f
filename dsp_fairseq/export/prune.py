"""From a trained dense model to an export of its best heads, without training."""

from __future__ import annotations

from pathlib import Path

from ..analysis.ranked import Ranked, rank_and_repair
from ..analysis.ranking import RankingOptions
from ..files import in_place_of, refuse_existing
from .export import Export, write_export


def prune_checkpoint(
    source: Path,
    output: Path,
    data: Path,
    options: RankingOptions,
    format: str = "pruned",
    quantization: str = "float32",
) -> tuple[Ranked, Export]:
    """Ranks the heads of a dense checkpoint, repairs what is left and exports it.

    Args:
        source: of a dense model of a known family, or of a gated one with K = N.
        output: a new file or folder.
        data: folder of the dictionaries, and of the split that is looked at.
        options: the method, K, how much is repaired on, and more.
        format: one of :data:`~dsp_fairseq.export.exporter.EXPORTERS`.
        quantization: one of the format's.

    Raises:
        PruningError: the output exists, or the checkpoint, the data, the budget or the format do
            not do.
    """
    refuse_existing(output)
    with in_place_of(output) as part:
        ranked = rank_and_repair(source, data, options)
        export = write_export(
            ranked.checkpoint, ranked.head_map, format, output, part, data, quantization
        )
    return ranked, export
