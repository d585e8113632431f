"""Whether two models translate alike: what ``dsp-export --check`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import GenerationConfig
from tqdm import tqdm

from ..data.batches import load_split, split_batches

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
        task: fairseq's task, with the dictionaries.
        sources: tokens of the sentences that the model can take, with what the task adds to them.
        hypotheses: the best of each of these.
        size: the number of all sentences, those included that are too long for the model.
        longest: how many tokens a hypothesis may have.
    """

    data: Path
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
    """

    sentences: int
    equal: int
    ties: int
    left_out: int = 0

    def __str__(self) -> str:
        differ = self.sentences - self.equal
        return "".join(
            [
                f"check        {self.equal} of {self.sentences} hypotheses are the same",
                f"; of {differ} others {self.ties} are ties in score" if differ else "",
                f"; {self.left_out} of {self.sentences + self.left_out} sentences are too long for "
                "the model and were left out"
                if self.left_out
                else "",
            ]
        )


def translate(
    checkpoint: Path, data: Path, split: str = "test", beam: int = 5, budget: str | None = None
) -> Translations:
    """Best hypotheses of a whole split, as fairseq-generate finds them.

    Raises:
        PruningError: the data cannot be read.
    """
    overrides = {"data": str(data)} | ({"num_of_heads": budget} if budget else {})
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides=overrides
    )
    load_split(task, split)
    for model in models:
        model.prepare_for_inference_(cfg)
    config = GenerationConfig(beam=beam)
    generator = task.build_generator(models, config)
    batches = split_batches(task, models, split, max_tokens=4000)
    pad, found = task.source_dictionary.pad(), {}
    with torch.no_grad():
        for sample in tqdm(batches, desc=f"translating with {Path(checkpoint).name}", leave=False):
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
        task,
        [source for source, _ in in_order],
        [hypothesis for _, hypothesis in in_order],
        size=len(task.dataset(split)),
        longest=min(config.max_len_b, *(model.max_decoder_positions() - 1 for model in models)),
    )


def agree(original: Translations, others: Sequence[Hypothesis]) -> Agreement:
    """Compares the hypotheses of two models, sentence by sentence."""
    pairs = list(zip(original.hypotheses, others, strict=True))
    equal = sum(a.tokens == b.tokens for a, b in pairs)
    ties = sum(a.tokens != b.tokens and abs(a.score - b.score) < TIE for a, b in pairs)
    return Agreement(len(pairs), equal, ties, original.size - len(pairs))
