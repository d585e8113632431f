"""Whether two models translate alike: what ``dsp-export --check`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import GenerationConfig
from tqdm import tqdm

from ..data.batches import load_split, split_batches
from .ctranslate2 import translate_with_ctranslate2

TIE = 1e-4
"""Two hypotheses whose scores (mean log-probability per token) differ by less are a tie."""


@dataclass(frozen=True)
class Hypothesis:
    """The best hypothesis of a sentence, and its score per token."""

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Agreement:
    """How many sentences two models translate alike, and how many others are ties."""

    sentences: int
    equal: int
    ties: int

    def __str__(self) -> str:
        differ = self.sentences - self.equal
        return f"check        {self.equal} of {self.sentences} hypotheses are the same" + (
            f"; of {differ} others {self.ties} are ties in score" if differ else ""
        )


def translate(
    checkpoint: Path, data: Path, split: str = "test", beam: int = 5, budget: str | None = None
) -> list[Hypothesis]:
    """Best hypotheses of a whole split, as fairseq-generate finds them, in the order of the data.

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
    generator = task.build_generator(models, GenerationConfig(beam=beam))
    batches = split_batches(task, models, split, max_tokens=4000)
    found: dict[int, Hypothesis] = {}
    with torch.no_grad():
        for sample in tqdm(batches, desc=f"translating with {Path(checkpoint).name}", leave=False):
            best = [hypotheses[0] for hypotheses in task.inference_step(generator, models, sample)]
            for number, hypothesis in zip(sample["id"].tolist(), best, strict=True):
                tokens = tuple(hypothesis["tokens"].tolist())
                found[number] = Hypothesis(tokens, float(hypothesis["score"]))
    return [found[number] for number in sorted(found)]


def agree(ours: Sequence[Hypothesis], theirs: Sequence[Hypothesis]) -> Agreement:
    """Compares the hypotheses of two models, sentence by sentence."""
    pairs = list(zip(ours, theirs, strict=True))
    equal = sum(a.tokens == b.tokens for a, b in pairs)
    ties = sum(a.tokens != b.tokens and abs(a.score - b.score) < TIE for a, b in pairs)
    return Agreement(len(pairs), equal, ties)


def compare(checkpoint: Path, exported: Path, data: Path, budget: str | None = None) -> Agreement:
    """Translates the test split with a training checkpoint and with what was exported from it."""
    ours = translate(checkpoint, data, budget=budget)
    if exported.is_dir():
        theirs = [
            Hypothesis(tokens, score)
            for tokens, score in translate_with_ctranslate2(exported, data, len(ours))
        ]
    else:
        theirs = translate(exported, data)
    return agree(ours, theirs)
