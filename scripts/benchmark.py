"""What the benchmarks share: models without data, interleaved timing, ratios with intervals."""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq import options
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import collate
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.translation import TranslationTask
from torch import Tensor, nn

import dsp_fairseq  # noqa: F401
from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.errors import PruningError
from dsp_fairseq.export.pruned import pruned_checkpoint
from dsp_fairseq.files import refuse_existing, write_whole
from dsp_fairseq.heads.head_map import HeadMap
from dsp_fairseq.heads.layout import HeadLayout

MASKS = ("even", "concentrated", "random", "limited")

SHAPES = {
    "tiny": "dsp_transformer_tiny",
    "iwslt": "dsp_transformer_iwslt_de_en",
}
HEADS = {"tiny": 48, "iwslt": 72}
_STOCK_FLAGS = {
    "tiny": [
        *("--arch", "transformer", "--encoder-layers", "4", "--decoder-layers", "4"),
        *("--encoder-embed-dim", "128", "--decoder-embed-dim", "128"),
        *("--encoder-ffn-embed-dim", "256", "--decoder-ffn-embed-dim", "256"),
        *("--encoder-attention-heads", "4", "--decoder-attention-heads", "4"),
    ],
    "iwslt": ["--arch", "transformer_iwslt_de_en"],
}
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_RECIPE = [
    *("--share-all-embeddings", "--dropout", "0.3", "--label-smoothing", "0.1", "--lr", "5e-4"),
    *("--lr-scheduler", "inverse_sqrt", "--adam-betas", "(0.9, 0.98)", "--weight-decay", "1e-4"),
    *("--max-tokens", "4096", "--distributed-world-size", "1"),
    # No training in the current folder is gone on with.
    *("--save-dir", ""),
]


def make_dictionary(size: int) -> Dictionary:
    """A dictionary of ``size`` made-up words."""
    dictionary = Dictionary()
    for number in range(size - len(dictionary)):
        dictionary.add_symbol(f"w{number}")
    return dictionary


def configure(shape: str, gated: bool, *flags: str) -> Any:
    """The configuration that fairseq-train would make of these flags."""
    # Without the name of any data.
    arguments = ["", *_RECIPE, *flags]
    if gated:
        arguments += ["--arch", SHAPES[shape], "--optimizer", "dsp_adam"]
        arguments += ["--criterion", "dsp_label_smoothed_cross_entropy"]
    else:
        arguments += [*_STOCK_FLAGS[shape], "--optimizer", "adam"]
        arguments += ["--criterion", "label_smoothed_cross_entropy"]
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments))


def make_task(config: Any, dictionary: Dictionary) -> TranslationTask:
    """A translation task without data."""
    return TranslationTask(config.task, dictionary, dictionary)


def make_batch(
    dictionary: Dictionary, tokens: int, seed: int, sentences: int | None = None
) -> dict[str, Any]:
    """One batch of random sentence pairs of 12 to 28 tokens, as fairseq collates them.

    It has as many sentences as ``tokens`` allow, or ``sentences`` of ``tokens`` in all.
    """
    numbers = random.Random(seed)
    length = tokens // sentences if sentences else numbers.randint(12, 28)
    samples = []
    for index in range(tokens // length):
        pair = {"id": index}
        for side in ("source", "target"):
            words = [
                numbers.randrange(dictionary.nspecial, len(dictionary))
                for _ in range(max(2, length - 1 - numbers.randint(0, 2)))
            ]
            pair[side] = torch.tensor([*words, dictionary.eos()])
        samples.append(pair)
    return collate(samples, pad_idx=dictionary.pad(), eos_idx=dictionary.eos())


def make_mask(layout: HeadLayout, budget: int, kind: str) -> Tensor:
    """K heads.

    ``even``: one a site in turn; ``concentrated``: whole sites from the top down; ``random``: any;
    ``limited``: any, but at most two of a site.
    """
    sites = sorted(layout.sites, key=lambda site: -site.layer)
    heads = dict(zip(layout.sites, layout.heads, strict=True))
    if kind == "even":
        order = [(site, h) for h in range(max(layout.heads)) for site in sites if h < heads[site]]
    else:
        order = [(site, h) for site in sites for h in range(heads[site])]
    if kind in ("random", "limited"):
        random.Random(1).shuffle(order)
    most = 2 if kind == "limited" else len(order)
    kept: dict[Any, list[int]] = {site: [] for site in sites}
    for site, head in order:
        if sum(map(len, kept.values())) < budget and len(kept[site]) < most:
            kept[site].append(head)
    if sum(map(len, kept.values())) < budget:
        raise PruningError(f"no {kind} mask of {layout} has {budget} heads")
    return layout.mask(kept)


def frozen_at(mask: Tensor) -> dict[str, Tensor]:
    """The tensors of a gated model that is frozen at this mask."""
    budgets = torch.zeros(len(mask) + 1)
    budgets[int(mask.sum())] = 1.0
    return {
        "head_gates.mask": mask,
        "head_gates.frozen": torch.tensor(1.0),
        "head_gates.budgets": budgets,
    }


def exported(
    config: Any, weights: Mapping[str, Tensor], layout: HeadLayout, mask: Tensor
) -> Checkpoint:
    """What dsp-export writes of the heads of this mask."""
    state = {"cfg": {"model": config.model, "task": dict(config.task)}, "model": dict(weights)}
    state |= {"optimizer_history": [{"lr_scheduler_state": {}}], "extra_state": {}}
    path = Path("benchmark")
    head_map = HeadMap(layout, None, mask, True, int(mask.sum()))
    return pruned_checkpoint(Checkpoint(path, state), head_map, path)


def place(args: Namespace, model: nn.Module) -> nn.Module:
    """The model on the device and in the precision that the flags name."""
    return model.to(args.device, PRECISIONS[args.precision])


def interleave(
    sides: Mapping[str, Callable[[int], None]], repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Times all sides in turn, round after round; their order changes from round to round.

    Args:
        sides: name -> what to time; it is given the number of the round.
        repeats: rounds that count.
        warm_up: rounds before them.

    Returns:
        name -> seconds, one per round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for round_number in range(warm_up + repeats):
        order = order[1:] + order[:1]
        for name in order:
            start = time.perf_counter()
            sides[name](round_number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
        print(f"\rround {round_number + 1} of {warm_up + repeats}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return seconds


def ratio(
    numerator: list[float], denominator: list[float], draws: int = 2000
) -> tuple[float, float, float]:
    """Median of the ratios within rounds, with a 95 % bootstrap interval."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    numbers = random.Random(0)
    medians = sorted(
        statistics.median(numbers.choices(ratios, k=len(ratios))) for _ in range(draws)
    )
    return statistics.median(ratios), medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def print_speeds(seconds: Mapping[str, list[float]], share: float) -> None:
    """A line a side: median seconds, speed-up over dense with its interval; and the ideal."""
    dense, none = seconds["dense"], seconds["none"]
    ideal = [d - (1 - share) * (d - n) for d, n in zip(dense, none, strict=True)]
    for side, values in {**seconds, "ideal": ideal}.items():
        middle, low, high = ratio(dense, values)
        print(
            f"  {side:<20} {statistics.median(values):8.4f} s   x {middle:.2f} of dense speed"
            f"  [{low:.2f}, {high:.2f}]"
        )


def parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """The flags that all benchmarks have."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    result.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    result.add_argument("--repeats", type=int, default=repeats, help="rounds that count")
    result.add_argument("--json", type=_new_file, help="also write all figures here")
    return result


def add_device(parser: argparse.ArgumentParser) -> None:
    """The flags of those that run on a GPU too."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")


def describe_device(args: Namespace) -> str:
    """What the figures were measured on, in words."""
    name = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.threads} threads"
    return f"{name}, {args.precision}"


def _new_file(text: str) -> Path:
    path = Path(text)
    try:
        refuse_existing(path, "--json")
    except PruningError as error:
        raise argparse.ArgumentTypeError(error.message) from None
    return path


def add_masks(parser: argparse.ArgumentParser) -> None:
    """The flags of those that compare pruned models: budgets, and kinds of :func:`make_mask`."""
    parser.add_argument("--num-of-heads", type=int, nargs="+", help="K (default: a quarter)")
    parser.add_argument("--masks", choices=MASKS, nargs="+", default=list(MASKS[:2]))


def prepare(args: Namespace) -> None:
    """Pins the threads and the seed, and silences fairseq.

    Raises:
        PruningError: the device is not there.
    """
    if getattr(args, "device", "cpu") == "cuda" and not torch.cuda.is_available():
        raise PruningError("--device cuda: PyTorch finds no GPU here")
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def write_json(path: Path | None, figures: Any) -> None:
    """Writes the figures with what they were measured on."""
    if path is None:
        return
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    write_whole(path, json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")
