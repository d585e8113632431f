"""The checkpoint of a dense model whose heads were ranked: frozen at the best K."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils, tasks
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from omegaconf import OmegaConf
from torch import Tensor

from ..checkpoints.checkpoint import RANKED_BY, REPAIRED, Checkpoint, load_checkpoint
from ..checkpoints.formats import GATES
from ..checkpoints.weights import tie_embeddings
from ..data.batches import to_gpu
from ..data.dataspec import data_of, own_task, refuse_other_data, refuse_other_symbols
from ..errors import CommandExit, PruningError
from ..files import in_place_of, refuse_existing
from ..heads.costs import resolve_costs
from ..heads.family import architecture, model_name
from ..heads.head_map import HeadMap
from ..pruning.flags import forget_training, pruning_flags
from ..pruning.repair import Repair, repair
from .ranking import RANKINGS, RankingOptions, Subject, importance_of, rank

logger = logging.getLogger(__name__)


@dataclass
class Ranked:
    """A dense checkpoint whose heads were ranked.

    Attributes:
        checkpoint: of the gated model, frozen at the best K.
        subject: the model itself, with these heads open, and its task.
        build: builds the model anew, from the dense checkpoint.
        seconds: how long the ranking took.
        repair: how what is left was repaired, if it was.
    """

    checkpoint: Checkpoint
    subject: Subject
    build: Callable[[], Any]
    seconds: float
    repair: Repair | None = None

    @property
    def head_map(self) -> HeadMap:
        """The heads that it keeps."""
        return self.checkpoint.head_map()

    def fit(self, number: int) -> None:
        """Repairs the model and the checkpoint on a number of batches.

        Raises:
            PruningError: there is no data, or the results are not finite.
        """
        subject, options = self.subject, self.subject.options
        batches, count = subject.sample(number)
        dense = self.build().to(next(subject.model.parameters()).device)
        self.repair = repair(subject.model, dense, subject.layout, list(batches))
        self.checkpoint.weights.update(_on_cpu(subject.model.state_dict()))
        self.checkpoint.state[REPAIRED] = f"{count}x{options.max_tokens}"


def rank_checkpoint(source: Path, output: Path, data: Path, options: RankingOptions) -> Ranked:
    """Ranks the heads of a dense checkpoint and writes it as one that is frozen at the best K.

    Args:
        source: of a dense model of a known family, or of a gated one with K = N.
        output: a new file.
        data: folder of the dictionaries, and of the split where the method looks at data.
        options: the method, K, and more.

    Returns:
        what was written.

    Raises:
        PruningError: the output exists, or the checkpoint, the data or the budget do not do.
    """
    refuse_existing(output)
    with in_place_of(output) as part:
        ranked = rank_and_repair(source, data, options)
        Checkpoint(output, ranked.checkpoint.state).save(part)
    return ranked


def rank_and_repair(source: Path, data: Path, options: RankingOptions) -> Ranked:
    """As :func:`rank_checkpoint`, without writing anything."""
    dense = load_checkpoint(source)
    chosen = load_checkpoint(options.heads_of).head_map() if options.heads_of else None
    if chosen and not chosen.frozen:
        logger.warning("the heads of %s are %s", options.heads_of, chosen.standing)
    if RANKINGS[options.method].uses_data and getattr(dense.args, "adaptive_softmax_cutoff", None):
        raise PruningError(
            f"--method {options.method} needs gradients of the loss, which a model with "
            "--adaptive-softmax-cutoff gives to its own criterion only: use --method weight-norm, "
            "random or learned"
        )
    frozen = gated_checkpoint(dense, source, options)
    config = frozen.state["cfg"]
    task = _setup_task(config, data, source)
    refuse_other_data(dense.data_state, task)
    refuse_other_symbols(source, dense.config("task"), task)
    build = partial(build_gated, config["model"], dense, task)
    model = build()
    criterion = task.build_criterion(OmegaConf.create(config["criterion"]))
    gates = model.head_gates
    if RANKINGS[options.method].uses_data or options.repair_batches:
        to_gpu(model, options.cpu)
    start = time.monotonic()
    subject = Subject(model, task, criterion, gates.layout, options, chosen)
    order = rank(subject, gates.plan.budget, gates.plan.limits)
    seconds = time.monotonic() - start
    gates.adopt(importance_of(order, gates.plan.budget))
    model.eval()
    frozen.weights.update(_on_cpu(model.state_dict()))
    frozen.state[RANKED_BY] = options.method + ("-one-shot" if options.one_shot else "")
    ranked = Ranked(frozen, subject, build, seconds)
    if options.repair_batches:
        ranked.fit(options.repair_batches)
    return ranked


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    moved = {name: weight.cpu() for name, weight in weights.items()}
    tie_embeddings(moved)
    return moved


def gated_checkpoint(dense: Checkpoint, output: Path, options: RankingOptions) -> Checkpoint:
    """The checkpoint of a gated model with a budget, that a dense one becomes; without weights yet.

    Raises:
        PruningError: of another model, or of one that is pruned.
    """
    if dense.state.get("cfg") is None:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(dense.path))
        config = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
        dense = Checkpoint(dense.path, {**state, "cfg": config, "model": dense.weights})
    _refuse_pruned(dense)
    family = dense.family
    gated = dense.derive(output, {})
    names = {f.name for f in fields(CRITERION_DATACLASS_REGISTRY[family.gated_criterion])}
    criterion = {name: v for name, v in dense.config("criterion").items() if name in names}
    if "sentence_avg" in names:
        criterion.setdefault("sentence_avg", False)
    args = gated_arguments(dense)
    args.num_of_heads = None if options.num_of_heads is None else str(options.num_of_heads)
    args.head_costs = options.head_costs and resolve_costs(options.head_costs)
    args.cost_budget = options.cost_budget
    args.keep_at_least, args.keep_at_most = options.keep_at_least, options.keep_at_most
    args.gate_seed = options.seed
    task = gated.state["cfg"].get("task") or {}
    task = vars(task) if isinstance(task, Namespace) else task
    if task.get("_name"):
        task["_name"] = own_task(task["_name"])
    gated.state["cfg"] |= {
        "model": args,
        "criterion": {**criterion, "_name": family.gated_criterion},
        "optimizer": {"_name": "dsp_adam"},
    }
    return gated


def _refuse_pruned(dense: Checkpoint) -> None:
    if dense.is_export:
        raise PruningError(
            f"{dense.path} is exported, its heads are chosen: give a dense checkpoint"
        )
    if model_name(dense.args) == dense.family.name:
        head_map = dense.head_map()
        if head_map.budget != head_map.layout.num_heads:
            raise PruningError(
                f"{dense.path} is pruned, to {head_map.budget} of {head_map.layout.num_heads} "
                "heads: give a dense checkpoint"
            )


def gated_arguments(checkpoint: Checkpoint) -> Namespace:
    """The arguments of the gated model of the same shape, with no budget and no flag of training.

    Raises:
        PruningError: of a family that is not known.
    """
    family, name = checkpoint.family, architecture(checkpoint.args)
    args = Namespace(**vars(checkpoint.args))
    forget_training(args)
    vars(args).update(pruning_flags())
    if model_name(checkpoint.args) != family.name:
        gated = f"dsp_{name}"
        name = gated if ARCH_MODEL_NAME_REGISTRY.get(gated) == family.name else family.name
    args.arch = args._name = name
    args.criterion, args.optimizer = family.gated_criterion, "dsp_adam"
    return args


def _setup_task(config: Mapping[str, Any], data: Path, source: Path) -> Any:
    node = config["task"]
    if isinstance(node, Namespace):
        task_config: Any = Namespace(**{**vars(node), "data": str(data)})
    else:
        task_config = OmegaConf.create({**node, "data": str(data)})
    name = getattr(node, "task", None) if isinstance(node, Namespace) else node.get("_name")
    if name and name not in TASK_REGISTRY:
        raise PruningError(
            f"{source} is of the task {name}, which is not known here: give the package that "
            "registers it as --user-dir"
        )
    try:
        return tasks.setup_task(task_config, from_checkpoint=True)
    except Exception as error:  # fairseq raises all kinds, and bare Exception too
        raise PruningError(f"--data {data} does not hold the data of this model: {error}") from None


def build_gated(args: Namespace, dense: Checkpoint, task: Any) -> Any:
    """The gated model of these arguments with the weights of a checkpoint, which has all heads.

    Raises:
        PruningError: they do not fit together, or not to the dictionaries of the task.
    """

    def misfit(reason: str) -> PruningError:
        data = f"the dictionaries of {data_of(task)}, or " if data_of(task) else ""
        return PruningError(
            f"the weights of {dense.path} do not fit {data}its own configuration: {reason}"
        )

    try:
        # The task may add to the model, such as a classification head.
        model = task.build_model(args, from_checkpoint=True)
        own: dict[str, Tensor] = {
            f"{GATES}{name}": value for name, value in model.head_gates.state_dict().items()
        }
    except (RuntimeError, ValueError) as error:
        raise misfit(str(error).strip().splitlines()[-1].strip()) from None
    try:
        model.load_state_dict({**dense.without_gates(), **own})
    except CommandExit as end:
        raise misfit(end.error.message) from None
    return model.eval()
