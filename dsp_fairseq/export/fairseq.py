"""The format ``fairseq``: a checkpoint of the dense model, in which closed heads are zeros."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq.tasks import TASK_REGISTRY

from ..checkpoints.checkpoint import EXPORT_FORMAT, SIGNATURE, Checkpoint
from ..checkpoints.formats import FORMAT
from ..checkpoints.weights import count_parameters, zero_weights
from ..heads.head_map import HeadMap
from ..pruning.flags import DISTILLATION_FLAGS, pruning_flags
from .exporter import Exporter, Order, register_exporter


@register_exporter
class DenseExporter(Exporter):
    """For tools that know nothing of pruning."""

    name = "fairseq"
    help = "is fairseq's own model in the dense shape, for tools that know nothing of pruning"

    def write(self, order: Order, output: Path, part: Path) -> int:
        dense = dense_checkpoint(order.source, order.head_map, output)
        dense.state |= {SIGNATURE: order.signature, EXPORT_FORMAT: FORMAT}
        dense.save(part)
        return count_parameters(dense.weights)


def dense_checkpoint(source: Checkpoint, head_map: HeadMap, output: Path) -> Checkpoint:
    """A checkpoint of the family's model in fairseq.

    Its configuration holds plain containers only, so that it loads with ``weights_only=True`` where
    this package is not installed.

    Raises:
        PruningError: the model is of no known family, or fairseq's cannot do what it does.
    """
    family = source.family
    family.check_dense(source.args)
    dense = source.derive(output, zero_weights(source.weights, head_map.layout, head_map.mask))
    own = {**pruning_flags(), **DISTILLATION_FLAGS}
    arguments = {k: v for k, v in vars(source.args).items() if k not in own}
    arguments |= {"arch": family.dense, "_name": family.dense, "user_dir": None}
    arguments |= {"criterion": family.criterion, "optimizer": "adam"}
    if "task" in arguments:
        arguments["task"] = _stock_task(arguments["task"])
    # CTranslate2 reads and sets attributes, fairseq's config reads items.
    model = OrderedDict(plain(arguments))
    vars(model).update(model)
    config = plain({k: v for k, v in dense.state["cfg"].items() if k != "model"})
    criterion = {k: v for k, v in (config.get("criterion") or {}).items() if k not in own}
    task = config.get("task") or {}
    dense.state["cfg"] = {
        **config,
        "model": model,
        "common": {**config.get("common", {}), "user_dir": None},
        "task": {**task, "_name": _stock_task(task["_name"])} if task.get("_name") else task,
        "criterion": {**criterion, "_name": family.criterion},
        "optimizer": {"_name": "adam"},
    }
    dense.state["extra_state"] = {}
    return dense


def _stock_task(name: str) -> str:
    """fairseq's task that one of this package is made of; any other as it is."""
    stock = name.removeprefix("dsp_")
    return stock if stock in TASK_REGISTRY else name


def plain(value: Any) -> Any:
    """Namespaces as dictionaries, all the way down."""
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
