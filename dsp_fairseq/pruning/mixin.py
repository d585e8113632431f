"""The pruning life of a model: gates drawn, frozen, held, loaded, adapted."""

from __future__ import annotations

import copy
import inspect
import logging
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.modules import FairseqDropout
from omegaconf import DictConfig
from torch import Tensor, nn

from ..checkpoints.formats import (
    BUDGETS_KEY,
    FORMAT_KEY,
    FROZEN_KEY,
    GATES,
    IMPORTANCE_KEY,
    upgrade_weights,
)
from ..checkpoints.validation import check_gates, check_shapes, check_shared, check_tensors
from ..data.batches import sample_batches, without_data
from ..errors import PruningError, exits_in_one_line
from ..heads.family import Family
from ..heads.layout import parse_kept_heads
from ..modules.attention import GatedAttention
from .distillation import Distillation, load_distillation
from .ending import at_the_end, updates_by_epochs
from .flag_files import resolve_head_costs, resolve_kept_heads
from .flags import (
    PruningConfig,
    add_pruning_flags,
    as_namespace,
    expect_unused_parameters,
    training_flag,
)
from .gates import FixedHeads, HeadGates
from .hooks import FairseqHooks, Stage
from .nonfinite import UpdateWatch
from .plan import check_schedule, plan_pruning
from .refusals import refuse_training, refuse_unsupported
from .repair import repair
from .resume import check_start_file, newest_sound

logger = logging.getLogger(__name__)

_CHECKPOINT = "the checkpoint"
"""What a file is called whose name fairseq does not tell."""


class HeadPruningMixin(FairseqHooks):
    """Makes a model of fairseq's, built of gated attention, keep exactly K of its N heads.

    Put it before fairseq's model among the bases, and name the ``family``. While training before
    the freeze, all heads run and are scaled by relaxed gates. From the freeze on, and in evaluation
    always, exactly K heads take part.

    Source: Li, Cotterell and Sachan, *Differentiable Subset Pruning of Transformer Heads*,
    TACL 2021.

    Raises:
        PruningError: an option that head pruning does not support, or a wrong pruning flag.
    """

    family: ClassVar[Family]
    distillation: Distillation | None = None
    _of_training = ("_check_start", "_read_teacher", "_sample")
    """Functions that fairseq-train's task is in; a copy of a model, or a pickle, has none."""
    _is_copy = False

    def __init__(self, args: Any, *modules: nn.Module) -> None:
        super().__init__(args, *modules)
        layout = self.family.layout(args)
        self._attentions: dict[Any, GatedAttention] = {
            site: self.get_submodule(site.module_name) for site in layout.sites
        }
        kept = PruningConfig.from_namespace(args).kept_heads
        self.head_gates: HeadGates | FixedHeads
        self.watch = UpdateWatch()
        _name_dropouts(self)
        if folder := training_flag(args, "save_dir"):
            self.watch.last_good = partial(newest_sound, Path(folder))
        self.watch.scaled = any(training_flag(args, flag) for flag in ("fp16", "amp"))
        if kept is not None:
            self.head_gates = FixedHeads(layout, layout.mask(parse_kept_heads(kept, layout)))
            self._open_heads()
            for attention in self._attentions.values():
                attention.remove_closed_heads()
            logger.info(
                "exported model: it has %d of %s", self.head_gates.open_mask().sum(), layout
            )
            return
        plan = plan_pruning(args, layout)
        self.head_gates = HeadGates(layout, plan)
        self.head_gates.optimizer_state.judge = self.watch.judge
        self._open_heads()
        logger.info("keeping %s of %s; %s", " and ".join(map(str, plan.budgets)), layout, plan)

    # ---- building

    @classmethod
    @exits_in_one_line
    def add_args(cls, parser: ArgumentParser) -> None:
        """Adds the flags of fairseq's model and the head-pruning flags."""
        super().add_args(parser)
        add_pruning_flags(parser)

    @classmethod
    @exits_in_one_line
    def build_model(cls, args: Any, task: Any) -> Any:
        """Builds the model from fairseq-train's namespace or fairseq-hydra-train's config."""
        if getattr(args, "kept_heads", None) is not None:
            resolve_kept_heads(args)
        resolve_head_costs(args)
        if isinstance(args, DictConfig):
            expect_unused_parameters(args)  # fairseq-train's are looked at when they are parsed
        args = as_namespace(args)
        inspect.unwrap(ARCH_CONFIG_REGISTRY[cls.family.name])(args)
        refuse_unsupported(args, cls.family)
        model = super().build_model(args, task)
        model._check_start = lambda: check_start_file(
            args, cls.family, model.head_gates.layout, task
        )
        model._read_teacher = lambda: load_distillation(args, model, task)
        split, size = (training_flag(args, name) for name in ("train_subset", "max_tokens"))
        model._sample = lambda number, seed: sample_batches(
            without_data(task), model, split or "train", size or 4096, number, seed
        )
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in self._of_training}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._is_copy, self._stage = True, max(self._stage, Stage.CHECKED)

    # ---- training

    def on_training_planned(self) -> None:
        refuse_training(self.args, self.family)
        self._check_start()
        self.distillation = self._read_teacher()

    def on_training_started(self, loaded: bool) -> None:
        if self._is_copy:
            raise PruningError("a copy of a model cannot be trained: build it from its checkpoint")
        self._hold_empty_sites()
        if not isinstance(self.head_gates, HeadGates):
            return
        self.head_gates.begin_training()
        if self.head_gates.is_frozen:
            return
        plan, layout = self.head_gates.plan, self.head_gates.layout
        if plan.pipelined and not loaded:
            raise PruningError(
                "--pruning-mode pipelined starts from a trained model: name its checkpoint with "
                "--finetune-from-model"
            )
        max_update = training_flag(self.args, "max_update")
        check_schedule(plan, layout, max_update, updates_by_epochs(self.args))
        at_the_end(self.head_gates.warn_unless_frozen)

    def on_update(self, number: int) -> None:
        self.watch.begin(number)

    def on_training_forward(self) -> AbstractContextManager[None]:
        """Draws this update's gates."""
        sampled = self.head_gates.is_sampling
        if self.head_gates.begin_forward():
            self._open_heads()
            self._hold_empty_sites()
            if sampled:
                self._repair()
        if self.head_gates.is_sampling:
            self.scale_heads(self.head_gates())
        if self.head_gates.holds_weights:
            return _without_gradients(*self._dense_modules())
        return nullcontext()

    @exits_in_one_line
    def on_evaluation(self) -> None:
        self._open_heads()

    def on_saving(self) -> None:
        self.watch.check_saving(self.named_parameters())

    @exits_in_one_line
    def _repair(self) -> None:
        """Fits what the freeze left to what the model gave with all its heads.

        The data and their order are a function of the flags: the processes of a training, and one
        that is resumed, come to the same weights.
        """
        assert isinstance(self.head_gates, HeadGates)
        plan = self.head_gates.plan
        if not plan.repair_batches:
            return
        # The teacher and the watch over the training are no part of what is compared.
        shared = {id(part): part for part in (self.distillation, self.watch)}
        try:
            batches, _ = self._sample(plan.repair_batches, plan.seed)
            dense = copy.deepcopy(self.eval(), shared)
            done = repair(self, dense, self.head_gates.layout, list(batches))
        except torch.cuda.OutOfMemoryError:
            # fairseq would leave out this update and go on, with what was repaired so far.
            raise PruningError(
                "the repair at the freeze needs more memory than there is: give fewer "
                "--repair-batches, or a smaller --max-tokens, and the same command again"
            ) from None
        logger.info("repaired %s", done)
        self.train()

    def scale_heads(self, gates: Tensor) -> None:
        """Runs all heads, each scaled by its gate (``[N]``), until told otherwise."""
        for site, gate in self.head_gates.layout.split(gates).items():
            self._attentions[site].use_gate(gate)

    def _open_heads(self) -> None:
        kept = self.head_gates.layout.kept(self.head_gates.open_mask())
        for site, heads in kept.items():
            self._attentions[site].use_heads(heads)

    def _dense_modules(self) -> list[nn.Module]:
        return [module for module in self.children() if module is not self.head_gates]

    def _hold_empty_sites(self) -> None:
        """Tells the optimizer's wrappers that a site left without heads has no gradients.

        Those of several processes would make zeros of them, and momentum would go on moving the
        weights. The bias of the output projection is all that such a site still uses.
        """
        if not isinstance(self.head_gates, HeadGates) or self.head_gates.is_sampling:
            return
        for site, heads in self.head_gates.layout.kept(self.head_gates.reachable_mask()).items():
            if not heads:
                attention = self._attentions[site]
                for parameter in attention.parameters():
                    if parameter is not attention.out_proj.bias:
                        parameter.requires_grad_(False)

    # ---- checkpoints

    def on_weights_read(self, weights: dict[str, Tensor]) -> None:
        """Checks that the weights are of a gated model with this number of heads.

        A dense checkpoint is taken only where it was asked for, as a start with
        ``--finetune-from-model``.
        """
        check_tensors(weights, _CHECKPOINT)
        upgrade_weights(weights, _CHECKPOINT)
        if isinstance(self.head_gates, HeadGates):
            self._add_gates(weights, self.head_gates)
        else:
            _refuse_all_heads(weights)
            weights.setdefault(FORMAT_KEY, self.head_gates.state_dict()["format"])
        own = self.state_dict()
        check_shapes(weights, own, _CHECKPOINT)
        check_shared(weights, own, _CHECKPOINT)
        if isinstance(self.head_gates, HeadGates):
            check_gates(weights, self.head_gates.layout, _CHECKPOINT)

    def on_weights_loaded(self) -> None:
        self.head_gates.after_load()
        self._open_heads()

    def _add_gates(self, weights: dict[str, Tensor], gates: HeadGates) -> None:
        """Gives the weights of a dense model the gates that training starts with."""
        own = {GATES + key: value for key, value in gates.state_dict().items()}
        # Who generates has the flags of the training too.
        trains = self._stage == Stage.CHECKED
        tuned = trains and training_flag(self.args, "finetune_from_model")
        learns = gates.plan.estimator.learns
        if tuned and (_has_all_heads(weights) or (_is_open(weights) and not learns)):
            for key in own:
                weights.pop(key, None)
        missing = [key for key in own if key not in weights]
        # Exported models have the number of the format only.
        if set(missing) >= own.keys() - {FORMAT_KEY}:
            self._refuse_other_heads(weights)
            if not tuned:
                raise PruningError(
                    f"the checkpoint is of a dense {self.family.dense}, without head importance: "
                    "start from it with --finetune-from-model, or give its own --arch"
                )
            logger.info(
                "dense checkpoint: all its weights are taken, and importance is added for %s",
                gates.layout,
            )
            weights.update(own)
        elif missing:
            raise PruningError(f"the checkpoint lacks {', '.join(missing)}: the file is damaged")
        found = weights[IMPORTANCE_KEY].numel()
        if found != gates.layout.num_heads:
            raise PruningError(
                f"the checkpoint has {found} heads, this model {gates.layout}: their layers or "
                "heads differ"
            )

    def _refuse_other_heads(self, weights: dict[str, Tensor]) -> None:
        own = self.state_dict()
        names = (f"{site.module_name}.q_proj.weight" for site in self._attentions)
        shapes = [(weights[n].shape, own[n].shape) for n in names if n in weights]
        # Where the width is another, the heads say nothing.
        if any(there[0] != here[0] and there[1:] == here[1:] for there, here in shapes):
            raise PruningError(
                "the checkpoint has other heads than this model: if dsp-export wrote it, build "
                "its model with --kept-heads FILE"
            )


def _name_dropouts(model: nn.Module) -> None:
    """Gives dropouts the names of fairseq's modules, which --retain-dropout-modules goes by."""
    for module in model.modules():
        for part in module.children():
            if isinstance(part, FairseqDropout) and part.module_name == type(module).__name__:
                bases = (
                    cls for cls in type(module).__mro__ if cls.__module__.startswith("fairseq.")
                )
                name = next((cls.__name__ for cls in bases), part.module_name)
                part.module_name = name.removesuffix("Base")


def _refuse_all_heads(weights: dict[str, Tensor]) -> None:
    if IMPORTANCE_KEY in weights:
        raise PruningError(
            "--kept-heads builds an exported model, but the checkpoint has all its heads: "
            "start from the file that dsp-export wrote"
        )


def _is_open(state_dict: dict[str, Tensor]) -> bool:
    """Whether this is a gated model whose heads are not final."""
    frozen = state_dict.get(FROZEN_KEY)
    return frozen is not None and not bool(frozen)


def _has_all_heads(state_dict: dict[str, Tensor]) -> bool:
    """Whether this is a gated model that was trained with all its heads."""
    budgets = state_dict.get(BUDGETS_KEY)
    return budgets is not None and bool(budgets[-1]) and int(budgets.sum()) == 1


@contextmanager
def _without_gradients(*modules: nn.Module) -> Iterator[None]:
    """Inside, the parameters are constants; to the optimizer they stay parameters."""
    held = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
