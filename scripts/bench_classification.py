#!/usr/bin/env python3
"""Speed of classification: stock dense, frozen, exported, and the ideal between them.

Each round runs every model forward over the same random batch. The ideal is that of
bench_generation.py. Without token types, which the stock model does not have.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import benchmark
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from torch import Tensor, nn

from dsp_fairseq.errors import exits_in_one_line
from dsp_fairseq.heads.family import family_of
from dsp_fairseq.tasks.sentence_prediction import DspSentencePredictionTask

SHAPES = {
    "tiny": "dsp_roberta_tiny",
    "minilm": "dsp_roberta_minilm_l6",
    "base": "dsp_roberta_base",
}
SIDES = ("dense", "frozen", "exported", "none")
_TASK = "dsp_sentence_prediction"
_RECIPE = [
    *("--task", _TASK, "--num-classes", "3", "--init-token", "0", "--lr", "1e-4"),
    *("--batch-size", "32", "--distributed-world-size", "1"),
]


def configure(*flags: str) -> Any:
    """The configuration that fairseq-train would make of these flags, without data."""
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, ["", *_RECIPE, *flags])
    return convert_namespace_to_omegaconf(args)


class Bench:
    """Builds the models of one shape and classifies with them."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.dictionary = benchmark.make_dictionary(args.vocabulary)
        self.labels = benchmark.make_dictionary(7)
        config = self.configure(0)
        self.layout = family_of(config.model).layout(config.model)
        self.weights = self.build(config, config.model).state_dict()

    def configure(self, budget: int) -> Any:
        """Of the gated model."""
        own = ("--arch", SHAPES[self.args.shape], "--token-types", "0", "--criterion", _TASK)
        return configure(*own, "--optimizer", "dsp_adam", "--num-of-heads", str(budget))

    def stock(self) -> Any:
        """Of fairseq's own model in the same shape."""
        gated = self.configure(0).model
        flags = ["--arch", "roberta_base", "--criterion", "sentence_prediction"]
        flags += ["--optimizer", "adam"]
        for name in ("layers", "embed-dim", "ffn-embed-dim", "attention-heads"):
            value = getattr(gated, f"encoder_{name.replace('-', '_')}")
            flags += [f"--encoder-{name}", str(value)]
        return configure(*flags)

    def build(self, config: Any, arguments: Any) -> nn.Module:
        """A model with a classification head and random weights."""
        task = DspSentencePredictionTask(config.task, self.dictionary, self.labels)
        return task.build_model(arguments)

    def model(self, side: str, mask: Tensor) -> nn.Module:
        """One of :data:`SIDES`, ready to classify."""
        if side == "dense":
            config = self.stock()
            return benchmark.place(self.args, self.build(config, config.model)).eval()
        config = self.configure(0 if side == "none" else int(mask.sum()))
        arguments, weights = config.model, dict(self.weights)
        if side == "frozen":
            weights |= benchmark.frozen_at(mask)
        elif side == "exported":
            checkpoint = benchmark.exported(config, weights, self.layout, mask)
            arguments, weights = checkpoint.state["cfg"]["model"], checkpoint.weights
        model = self.build(config, arguments)
        model.load_state_dict(weights)
        return benchmark.place(self.args, model).eval()

    def classify(self, model: nn.Module, inputs: int) -> Callable[[int], None]:
        """Classifies one batch; the round chooses which."""
        name = "sentence_classification_head"
        draw = torch.Generator().manual_seed(1)
        size = (4, inputs, self.args.length)
        batches = torch.randint(
            self.dictionary.nspecial, len(self.dictionary), size, generator=draw
        )
        batches[..., 0], batches[..., -1] = self.dictionary.bos(), self.dictionary.eos()
        batches = batches.to(self.args.device)

        @torch.inference_mode()
        def forward(number: int) -> None:
            batch = batches[number % len(batches)]
            model(batch, features_only=True, classification_head_name=name)

        return forward


@exits_in_one_line
def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=15)
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    benchmark.add_device(parser)
    benchmark.add_masks(parser)
    parser.add_argument("--inputs", type=int, nargs="+", default=[32, 1], help="batch sizes")
    parser.add_argument("--length", type=int, default=40, help="tokens of an input")
    parser.add_argument("--vocabulary", type=int, default=30522)
    args = parser.parse_args()
    benchmark.prepare(args)
    bench = Bench(args)
    n = bench.layout.num_heads
    figures = []
    for budget in args.num_of_heads or [n // 4]:
        for kind in args.masks:
            mask = benchmark.make_mask(bench.layout, budget, kind)
            models = {side: bench.model(side, mask) for side in SIDES}
            for inputs in args.inputs:
                sides = {side: bench.classify(model, inputs) for side, model in models.items()}
                seconds = benchmark.interleave(sides, args.repeats, warm_up=2)
                print(
                    f"{args.shape}, K = {budget} of {n}, {kind} mask, batch {inputs}, "
                    f"{args.length} tokens, {benchmark.describe_device(args)}, "
                    f"{args.repeats} rounds"
                )
                benchmark.print_speeds(seconds, budget / n)
                figures.append({"K": budget, "mask": kind, "inputs": inputs, "seconds": seconds})
    benchmark.write_json(args.json, {"shape": args.shape, "runs": figures})


if __name__ == "__main__":
    main()
