"""Whether two models translate alike: what ``dsp-export --check`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import GenerationConfig

from ..checkpoints.formats import EMBEDDING_PATHS
from ..data.batches import load_split, split_batches
from ..progress import progress

TIE = 1e-4
"""Two hypotheses whose scores (mean log-probability per token) differ by less are a tie."""


@dataclass(frozen=True)
class Hypothesis:
    """The best hypothesis of a sentence, and its score per token."""

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Translations:
    """A split, and what a model made of it, in the order of the data.

    Attributes:
        data: the folder of the data.
        direction: source and target language of a multilingual model.
        task: fairseq's task, with the dictionaries.
        sources: tokens of the sentences that the model can take, with what the task adds to them.
        hypotheses: the best of each of these.
        size: the number of all sentences, those included that are too long for the model.
        longest: how many tokens a hypothesis may have.
    """

    data: Path
    direction: Mapping[str, str]
    task: Any
    sources: list[list[int]]
    hypotheses: list[Hypothesis]
    size: int
    longest: int


@dataclass(frozen=True)
class Agreement:
    """How many sentences two models translate alike, and how many others are ties.

    Attributes:
        sentences: how many were compared.
        equal: those with the same hypothesis.
        ties: others whose scores do not differ.
        left_out: how many are too long for the model, and were not compared.
        blank: how many are blank, and were not translated.
        direction: of a multilingual model, the languages.
    """

    sentences: int
    equal: int
    ties: int
    left_out: int = 0
    blank: int = 0
    direction: str = ""

    def __str__(self) -> str:
        differ = self.sentences - self.equal
        text = f"check        {self.equal} of {self.sentences} hypotheses are the same"
        if differ:
            text += f"; of {differ} others {self.ties} are ties in score"
        whole = self.sentences + self.left_out + self.blank
        if self.left_out:
            text += (
                f"; {self.left_out} of {whole} sentences are too long for the model and were left "
                "out"
            )
        if self.blank:
            text += f"; {self.blank} of {whole} are blank, which CTranslate2 does not translate"
        return f"{text}; direction {self.direction}" if self.direction else text


def direction_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Of a multilingual model, the direction that its tools use: the first of ``--lang-pairs``."""
    pairs = task.get("lang_pairs")
    if not pairs or task.get("source_lang"):
        return {}
    first = (pairs.split(",") if isinstance(pairs, str) else pairs)[0]
    return dict(zip(("source_lang", "target_lang"), first.split("-"), strict=True))


def translate(
    checkpoint: Path,
    data: Path,
    direction: Mapping[str, str] = MappingProxyType({}),
    beam: int = 5,
    budget: str | None = None,
) -> Translations:
    """Best hypotheses of the whole test split, as fairseq-generate finds them.

    Args:
        checkpoint: a file.
        data: a folder of binarised data.
        direction: what :func:`direction_of` says.
        beam: the size of the beam.
        budget: K, where the checkpoint is not frozen.

    Raises:
        PruningError: the data cannot be read.
    """
    overrides: dict[str, Any] = {"data": str(data), **direction}
    overrides |= dict.fromkeys(EMBEDDING_PATHS)
    if budget:
        overrides["num_of_heads"] = budget
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides=overrides
    )
    load_split(task, "test")
    for model in models:
        model.prepare_for_inference_(cfg)
    config = GenerationConfig(beam=beam)
    generator = task.build_generator(models, config)
    batches = split_batches(task, models, "test", max_tokens=4000)
    pad, found = task.source_dictionary.pad(), {}
    with torch.no_grad():
        what = f"translating with {checkpoint.name}"
        for sample in progress(batches, len(batches), what, "batches"):
            sources = sample["net_input"]["src_tokens"].tolist()
            results = task.inference_step(generator, models, sample)
            for number, source, (best, *_) in zip(
                sample["id"].tolist(), sources, results, strict=True
            ):
                hypothesis = Hypothesis(tuple(best["tokens"].tolist()), float(best["score"]))
                found[number] = ([token for token in source if token != pad], hypothesis)
    in_order = [found[number] for number in sorted(found)]
    return Translations(
        data,
        direction,
        task,
        [source for source, _ in in_order],
        [hypothesis for _, hypothesis in in_order],
        size=len(task.dataset("test")),
        longest=min(config.max_len_b, *(model.max_decoder_positions() - 1 for model in models)),
    )


def agree(original: Translations, others: Sequence[Hypothesis | None]) -> Agreement:
    """Compares the hypotheses of two models, sentence by sentence, where both have one."""
    both = zip(original.hypotheses, others, strict=True)
    pairs = [(a, b) for a, b in both if b is not None]
    equal = sum(a.tokens == b.tokens for a, b in pairs)
    ties = sum(a.tokens != b.tokens and abs(a.score - b.score) < TIE for a, b in pairs)
    left_out, blank = original.size - len(others), len(others) - len(pairs)
    direction = "-".join(original.direction.values())
    return Agreement(len(pairs), equal, ties, left_out, blank, direction)
