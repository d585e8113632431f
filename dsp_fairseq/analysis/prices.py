"""Prices of heads: what a head of each kind adds to the time of a translation, measured here.

The encoder's heads run once a sentence, those of the decoder at every step and for every beam, so
equal numbers of heads are not equal times. The model itself is timed, with all its heads and with
half or all heads of one kind removed, on made-up sentences of its own vocabulary.
"""

from __future__ import annotations

import copy
import json
import platform
import random
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import collate
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import Tensor

from ..checkpoints.checkpoint import Checkpoint, load_checkpoint
from ..data.batches import beside, to_gpu
from ..errors import PruningError
from ..heads.layout import HeadLayout
from ..modules.attention import GatedAttention
from ..progress import progress
from ..pruning.gates import FixedHeads
from .ranked import build_gated, gated_arguments

LEAST = 0.01
"""The smallest price, in mean heads: a head whose cost is lost in the noise still costs something,
or a budget would keep all of its kind."""

_WARM_UP = 1
_BATCHES = 4
_SHORTER = 2
"""Sentences of a batch differ in length by up to so many tokens."""

_HEADER = """\
# What one attention head costs, by dsp-measure: prices such that the mean head costs 1.
# seconds: of one batch, for one head.
"""


@dataclass(frozen=True)
class Measure:
    """How a translation is timed.

    Attributes:
        batch_size: sentences of a batch.
        beam: beams of a sentence.
        length: tokens of the longest source sentence, and of every translation.
        repeats: rounds that count.
        seed: of the sentences.
        cpu: do not use a GPU.
    """

    batch_size: int = 32
    beam: int = 5
    length: int = 24
    repeats: int = 7
    seed: int = 1
    cpu: bool = False


@dataclass(frozen=True)
class Prices:
    """What one head of each kind costs.

    Attributes:
        heads: kind of site -> how many there are.
        rounds: kind -> seconds of a batch that one head adds, in each round.
        dense: median seconds of a batch with all heads.
        device: what it was measured on.
        threads: of PyTorch.
        measure: how.
    """

    heads: Mapping[str, int]
    rounds: Mapping[str, Sequence[float]]
    dense: float
    device: str
    threads: int
    measure: Measure

    @property
    def seconds(self) -> dict[str, float]:
        """Kind -> seconds of a batch that one head adds: the median of the rounds."""
        return {kind: statistics.median(values) for kind, values in self.rounds.items()}

    def spread(self, kind: str) -> tuple[float, float]:
        """The lower and the upper quartile of a kind's seconds."""
        values = self.rounds[kind]
        if len(values) == 1:
            return values[0], values[0]
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return low, high

    @property
    def in_the_noise(self) -> list[str]:
        """The kinds whose heads have the smallest price, since their time is too short to tell."""
        least = max(self._noise, LEAST * self._mean)
        return [kind for kind, value in self.seconds.items() if value <= least]

    @property
    def unsure(self) -> list[str]:
        """The other kinds whose time is not told apart from 0, by its lower quartile."""
        noise = self.in_the_noise
        return [kind for kind in self.heads if kind not in noise and self.spread(kind)[0] <= 0]

    @property
    def _noise(self) -> float:
        """Seconds by which a head was found to make generation faster, which none can."""
        return max(0.0, -min(self.seconds.values()))

    @property
    def costs(self) -> dict[str, float]:
        """Kind -> price of one head; the mean over all heads is 1.

        Raises:
            PruningError: no kind of head takes time that can be told from the noise.
        """
        if len(self.in_the_noise) == len(self.heads):
            raise PruningError(
                "the time of a head is lost in the noise of this machine: give more --repeats, a "
                "larger --batch-size or a longer --length"
            )
        least = LEAST * self._mean
        noise = self.in_the_noise
        raised = {k: least if k in noise else value for k, value in self.seconds.items()}
        unit = self._over_heads(raised)
        return {kind: float(f"{value / unit:.4g}") for kind, value in raised.items()}

    @property
    def _mean(self) -> float:
        return self._over_heads({kind: max(value, 0.0) for kind, value in self.seconds.items()})

    def _over_heads(self, values: Mapping[str, float]) -> float:
        total = sum(values[kind] * number for kind, number in self.heads.items())
        return total / sum(self.heads.values())

    def render(self, as_json: bool) -> str:
        """The file that is written, as JSON or as YAML."""
        content = {
            "costs": self.costs,
            "seconds": {kind: float(f"{value:.4g}") for kind, value in self.seconds.items()},
            "measured": {
                "heads": dict(self.heads),
                "device": self.device,
                "threads": self.threads,
                **asdict(self.measure),
            },
        }
        if as_json:
            return json.dumps(content, indent=2) + "\n"
        return _HEADER + yaml.safe_dump(content, sort_keys=False)


def price_heads(path: Path, measure: Measure) -> Prices:
    """Prices the heads of a translation model on this machine.

    Args:
        path: a checkpoint with all its heads, of dsp-fairseq or of a dense model, trained or not.
        measure: how.

    Raises:
        PruningError: the model does not translate, lacks heads, or is too short for the length.
    """
    checkpoint = load_checkpoint(path)
    model, task = _build(checkpoint, measure)
    layout = model.head_gates.layout
    heads = {kind: len(layout.indices(kind)) for kind in layout.kinds()}
    to_gpu(model, measure.cpu)
    on_gpu = next(model.parameters()).is_cuda
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    sides = _sides(layout)
    models = [_with_heads(model, layout, mask) for _, mask in sides]
    closed = [(kind, int((1 - mask).sum())) for kind, mask in sides]
    seconds = _time(models, task, measure)
    rounds = {
        kind: [
            slope(
                [number for other, number in closed if other == kind],
                [row[0] - row[i] for i, (other, _) in enumerate(closed) if other == kind],
            )
            for row in seconds
        ]
        for kind in layout.kinds()
    }
    dense = statistics.median(row[0] for row in seconds)
    name = device if device != "cpu" else platform.processor() or platform.machine() or device
    return Prices(heads, rounds, dense, name, torch.get_num_threads(), measure)


def slope(closed: Sequence[int], saved: Sequence[float]) -> float:
    """Seconds per head, by least squares through the origin.

    Args:
        closed: numbers of heads that were closed.
        saved: seconds that this saved.
    """
    products = sum(n * s for n, s in zip(closed, saved, strict=True))
    return products / sum(n * n for n in closed)


# ---- what is timed


def _build(checkpoint: Checkpoint, measure: Measure) -> tuple[Any, TranslationTask]:
    """The gated model with all heads open, and a task with dictionaries of made-up words."""
    if not checkpoint.family.translates:
        raise PruningError(
            f"{checkpoint.path} does not translate: all its heads are of one kind and cost alike, "
            "so count them with --num-of-heads"
        )
    if checkpoint.lacks_heads:
        raise PruningError(
            f"{checkpoint.path} is exported, and lacks heads: give the checkpoint it was made of"
        )
    args: Namespace = gated_arguments(checkpoint)
    args.num_of_heads = str(checkpoint.layout.num_heads)
    dictionaries = [_dictionary(checkpoint, side) for side in ("encoder", "decoder")]
    task = TranslationTask(TranslationConfig(), *dictionaries)
    model = build_gated(args, checkpoint, task)
    longest = min(model.max_positions()[0], model.max_decoder_positions() - 1)
    if measure.length > longest:
        raise PruningError(f"--length {measure.length}: this model takes {longest} tokens")
    return model, task


def _dictionary(checkpoint: Checkpoint, side: str) -> Dictionary:
    weight = checkpoint.weights.get(f"{side}.embed_tokens.weight")
    dictionary = Dictionary()
    words = 0 if weight is None or weight.dim() != 2 else len(weight) - len(dictionary)
    if words < 1:
        raise PruningError(f"{checkpoint.path} is damaged: its {side} has no embeddings of words")
    for number in range(words):
        dictionary.add_symbol(f"w{number}")
    return dictionary


def _sides(layout: HeadLayout) -> list[tuple[str, Tensor]]:
    """What is compared: all heads, then each kind with half of its heads a site, and with none."""
    sides = [("", torch.ones(layout.num_heads))]
    for kind in layout.kinds():
        for share in (0.5, 0.0):
            mask = torch.ones(layout.num_heads)
            for site in layout.sites:
                cut = layout.range(site)
                if site.kind == kind:
                    mask[[i for i in cut if i - cut.start >= int(share * len(cut))]] = 0.0
            sides.append((kind, mask))
    return sides


def _with_heads(model: Any, layout: HeadLayout, mask: Tensor) -> Any:
    """A copy of the model from which closed heads are removed, as an export is without them.

    All other weights are shared with it.
    """
    attentions = [module for module in model.modules() if isinstance(module, GatedAttention)]
    own = {id(parameter) for module in attentions for parameter in module.parameters()}
    shared = {id(p): p for p in model.state_dict(keep_vars=True).values() if id(p) not in own}
    pruned = copy.deepcopy(model, shared)
    pruned.head_gates = FixedHeads(layout, mask)
    pruned.make_generation_fast_(need_attn=False)
    return pruned


def _sentences(dictionary: Dictionary, measure: Measure, seed: int) -> dict[str, Any]:
    """A batch of made-up sentences, as fairseq collates them."""
    numbers = random.Random(seed)
    samples = []
    for index in range(measure.batch_size):
        shorter = min(_SHORTER, measure.length - 2) if index else 0
        length = measure.length - numbers.randint(0, max(0, shorter))
        words = [numbers.randrange(dictionary.nspecial, len(dictionary)) for _ in range(length - 1)]
        samples.append({"id": index, "source": torch.tensor([*words, dictionary.eos()])})
    return collate(samples, pad_idx=dictionary.pad(), eos_idx=dictionary.eos())


def _time(models: Sequence[Any], task: TranslationTask, measure: Measure) -> list[list[float]]:
    """Seconds ``[round][model]`` of a batch; the models take turns, in another order each round."""
    translate = [_translator(model, task.target_dictionary, measure) for model in models]
    on_gpu = next(models[0].parameters()).is_cuda
    words = task.source_dictionary
    batches = [
        beside(models[0], _sentences(words, measure, measure.seed + i)) for i in range(_BATCHES)
    ]
    rounds: list[list[float]] = []
    for number, side in _turns(len(models), _WARM_UP + measure.repeats):
        if side == number % len(models):
            rounds.append([0.0] * len(models))
        start = time.perf_counter()
        translate[side](batches[number % _BATCHES])
        if on_gpu:
            torch.cuda.synchronize()
        rounds[-1][side] = time.perf_counter() - start
    return rounds[_WARM_UP:]


def _turns(sides: int, rounds: int) -> Iterator[tuple[int, int]]:
    """(round, side) in the order in which they are timed, with a progress bar."""
    turns = [(r, (r + i) % sides) for r in range(rounds) for i in range(sides)]
    return progress(turns, len(turns), "timing translations", "batches")


def _translator(
    model: Any, dictionary: Dictionary, measure: Measure
) -> Callable[[dict[str, Any]], None]:
    generator = SequenceGenerator(
        [model],
        dictionary,
        beam_size=min(measure.beam, len(dictionary) - 1),
        max_len_a=0,
        max_len_b=measure.length,
        min_len=measure.length,
    )
    return lambda batch: generator.generate([model], batch)
