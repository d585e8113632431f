"""Classification of sentences and of sentence pairs: fairseq's task and criterion, made strict."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import (
    SentencePredictionConfig as CriterionConfig,
)
from fairseq.criterions.sentence_prediction import SentencePredictionCriterion
from fairseq.data import Dictionary, SortDataset
from fairseq.logging import metrics
from fairseq.tasks import register_task
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from torch import Tensor

from ..data.dataspec import symbols_of
from ..errors import PruningError, exits_in_one_line
from ..pruning.criterion import GateCriterionMixin
from ..pruning.flags import DistillationConfig

logger = logging.getLogger(__name__)

TOKENS = ("init_token", "separator_token")
"""Flags of what is put before the first and the second sentence."""

_DIGITS = 6
"""Of an accuracy in percent: fewer would make equals of results on large data."""


@register_task("dsp_sentence_prediction", dataclass=SentencePredictionConfig)
class DspSentencePredictionTask(SentencePredictionTask):
    """fairseq's task with batches of like lengths of all inputs; checkpoints know their classes.

    fairseq's own shuffles only, so that half of its computing is padding. A folder of data has
    ``input0/``, for pairs ``input1/``, and ``label/``, each with its ``dict.txt``; the order of the
    label dictionary is that of the classes. Checkpoints hold what :func:`task_state` says, and
    refuse other data.

    Raises:
        PruningError: regression; data that is missing, damaged or of another model.
    """

    @classmethod
    @exits_in_one_line
    def setup_task(cls, cfg: Any, **kwargs: Any) -> Any:
        if cfg.regression_target:
            raise PruningError(
                "--regression-target is not supported by dsp_sentence_prediction, which counts "
                "classes: leave it out"
            )
        folder = Path(cfg.data)
        for part in ("input0", "label"):
            if not (folder / part / "dict.txt").is_file():
                raise PruningError(
                    f"{folder} has no dictionary {part}/dict.txt: give the folder of data of "
                    "sentences and their labels, as fairseq-preprocess writes them"
                )
        _check_second(folder)
        if cfg.num_classes < 1:
            raise PruningError(
                "give the number of classes: --num-classes N (a model without a classification "
                "head has none: train it first)"
            )
        task = super().setup_task(cfg, **kwargs)
        if len(task.labels) != cfg.num_classes:
            raise PruningError(
                f"--num-classes {cfg.num_classes}: {folder / 'label/dict.txt'} has "
                f"{len(task.labels)} labels ({', '.join(task.labels)})"
            )
        return task

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of their numbers."""
        symbols = self.label_dictionary.symbols[self.label_dictionary.nspecial :]
        # fairseq-preprocess fills up dictionaries, and the task adds a mask.
        return [s for s in symbols if s != "<mask>" and not s.startswith("madeupword")]

    @property
    def sentences(self) -> int:
        """How many an input has: 2 for pairs."""
        return 1 + (Path(self.cfg.data) / "input1").is_dir()

    # ---- data

    @exits_in_one_line
    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> Any:
        folder = Path(self.cfg.data)
        for part in ("input0", *["input1"] * (self.sentences > 1)):
            # Without the second sentences fairseq would read the first ones alone.
            if not any((folder / part).glob(f"{split}.*")):
                raise PruningError(f"{folder} has no {split} split ({part}/{split}.*)")
        try:
            dataset = super().load_dataset(split, combine, **kwargs)
        except AssertionError as error:
            raise PruningError(
                f"the {split} split of {folder} is damaged, its inputs and labels are not of the "
                f"same number ({error}): prepare it again"
            ) from None
        lengths = dataset.sizes[0]
        self._check_lengths(split, lengths)
        self._check_labels(split, dataset)
        if isinstance(dataset, SortDataset):
            # By length first; what has the same length stays shuffled.
            dataset.sort_order = [*dataset.sort_order, lengths]
        return dataset

    def _check_lengths(self, split: str, lengths: Any) -> None:
        most = self.cfg.max_positions
        number = int((lengths > most).sum())
        if number:
            raise PruningError(
                f"{number} of {len(lengths)} inputs of the {split} split of {self.cfg.data} are "
                f"longer than --max-positions {most}, up to {lengths.max()} tokens: shorten them, "
                "or give --shorten-method truncate"
            )

    def _check_labels(self, split: str, dataset: Any) -> None:
        if isinstance(dataset, SortDataset):
            dataset = dataset.dataset
        targets, known = dataset.defn.get("target", ()), [[i] for i in range(len(self.labels))]
        unknown = sum(targets[i].tolist() not in known for i in range(len(targets)))
        if unknown:
            raise PruningError(
                f"{unknown} of {len(targets)} labels of the {split} split of {self.cfg.data} are "
                f"none of {', '.join(self.labels)}: leave these lines out, or prepare the data "
                "with the label dictionary that has them"
            )

    @exits_in_one_line
    def get_batch_iterator(self, *args: Any, **kwargs: Any) -> Any:
        # For other multiples fairseq leaves out the last batch, in validation too: the longest.
        try:
            return super().get_batch_iterator(
                *args, **{**kwargs, "required_batch_size_multiple": 1}
            )
        except AssertionError as error:
            raise PruningError(
                f"{error}: give a larger --max-tokens (for validation --max-tokens-valid)"
            ) from None

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What fairseq stores of the task in a checkpoint, and compares where it is loaded."""
        tokens = {name: getattr(self.cfg, name) for name in TOKENS[: self.sentences]}
        return {**task_state(self.labels, self.dictionary), **tokens, "sentences": self.sentences}

    @exits_in_one_line
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.refuse_other(state_dict)

    def refuse_other(self, stored: Mapping[str, Any]) -> None:
        """Compares what a checkpoint stored of its data with this data, as far as it did.

        Raises:
            PruningError: the model was trained on data with other classes or another vocabulary,
                or that was read in another way.
        """
        own = self.state_dict()
        given = {name: stored.get(name, value) for name, value in own.items()}
        if given["labels"] != own["labels"]:
            raise PruningError(
                f"the model has the classes {', '.join(given['labels'])}, and {self.cfg.data} "
                f"has {', '.join(own['labels'])}, in this order: prepare the data with the label "
                "dictionary of the model's training (fairseq-preprocess --srcdict)"
            )
        if given["vocabulary"] != own["vocabulary"]:
            raise PruningError(
                f"the model has another vocabulary than {self.cfg.data}: prepare the data with "
                "the dictionary of the model's training (fairseq-preprocess --srcdict)"
            )
        if given["sentences"] != own["sentences"]:
            raise PruningError(
                f"the model reads pairs of sentences, and {self.cfg.data} has no input1/"
                if self.sentences == 1
                else f"the model reads single sentences, and {self.cfg.data} has pairs (input1/)"
            )
        for reason in self._other_tokens(stored):
            raise PruningError(f"{reason}: give the same")

    def _other_tokens(self, stored: Mapping[str, Any]) -> list[str]:
        """The tokens before sentences that are others than stored, in words."""
        return [
            f"the model was trained with --{name.replace('_', '-')} {stored[name]}, here it is "
            f"{own}"
            for name in TOKENS[: self.sentences]
            if stored.get(name, own := getattr(self.cfg, name)) != own
        ]

    def refuse_other_start(self, stored: Mapping[str, Any], new_task: bool) -> None:
        """As :meth:`refuse_other`, of the checkpoint that a training starts from.

        Args:
            stored: as there.
            new_task: whether all weights may learn other classes than those of the checkpoint.

        Raises:
            PruningError: as there, and for the same classes in another order.
        """
        labels = stored.get("labels") or []
        if new_task and set(labels) != set(self.labels):
            if len(labels) == len(self.labels):
                logger.warning(
                    "the head of the classes %s goes on as that of %s",
                    ", ".join(labels),
                    ", ".join(self.labels),
                )
            for reason in self._other_tokens(stored):
                logger.warning("%s: give the same, unless it is to learn that anew", reason)
            stored = {name: stored[name] for name in ("vocabulary",) if name in stored}
        self.refuse_other(stored)


def task_state(labels: Sequence[str], dictionary: Dictionary) -> dict[str, Any]:
    """What a checkpoint knows of its data: the classes in order, and a digest of its vocabulary.

    That of a training also says how many sentences an input has, and the tokens put before them.
    """
    digest = hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()
    return {"labels": list(labels), "vocabulary": digest}


def _check_second(folder: Path) -> None:
    """The second sentences are read with the dictionary of the first."""
    first, second = (folder / part / "dict.txt" for part in ("input0", "input1"))
    if second.is_file() and symbols_of(second) != symbols_of(first):
        raise PruningError(
            f"{second} has other symbols than {first}: prepare the second sentences with the "
            "dictionary of the first (fairseq-preprocess --srcdict)"
        )


@dataclass
class _CriterionConfig(DistillationConfig, CriterionConfig):
    """fairseq's flags, and those of a teacher."""


@register_criterion("dsp_sentence_prediction", dataclass=_CriterionConfig)
class DspSentencePredictionCriterion(GateCriterionMixin, SentencePredictionCriterion):
    """fairseq's criterion under the sampled gates, plus the model's gate penalty per sentence.

    Accuracy is exact: fairseq's is rounded to 0.1, and so is its choice of the best checkpoint.
    """

    @exits_in_one_line
    def __init__(self, cfg: CriterionConfig, task: Any) -> None:
        if not hasattr(task, "label_dictionary"):
            raise PruningError(
                "--criterion dsp_sentence_prediction is for --task dsp_sentence_prediction"
            )
        for name in ("report_mcc", "report_acc_and_f1", "report_pearson_and_spearman"):
            if getattr(cfg, name):
                raise PruningError(
                    f"--{name.replace('_', '-')} is not supported by dsp_sentence_prediction: "
                    "dsp-predict says precision and recall of each class"
                )
        super().__init__(cfg, task)

    @exits_in_one_line
    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        if "target" not in sample:
            raise PruningError("this split has no labels: training and validation need them")
        return super().forward(model, sample, reduce)

    def left_out(self, target: Tensor) -> None:
        """Every class counts, that with the number of the padding too."""

    @classmethod
    def reduce_metrics(cls, logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Aggregates over micro-batches and processes, and puts all values into the logs."""
        super().reduce_metrics(
            [{k: v for k, v in log.items() if k != "ncorrect"} for log in logging_outputs]
        )
        for name in ("ncorrect", "nsentences"):
            metrics.log_scalar_sum(f"_{name}", sum(log.get(name, 0) for log in logging_outputs))
        metrics.log_derived("accuracy", _accuracy)


def _accuracy(meters: Any) -> float:
    correct, number = (float(meters[name].sum) for name in ("_ncorrect", "_nsentences"))
    return round(100 * correct / max(number, 1), _DIGITS)
