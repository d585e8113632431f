#!/usr/bin/env python3
"""Speed of generation: stock dense, masked, frozen, exported, and the ideal between them.

Each round translates the same random batch with every model, by fairseq's own beam search with a
forced output length. "masked" is the stock model with closed heads multiplied by zero, as in the
paper's released code. The ideal takes attention's share of the time away in proportion to the
heads: dense - (1 - K/N) * (dense - none), where "none" is the model without any attention head.
"""

from __future__ import annotations

import gc
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import benchmark
import torch
from fairseq.sequence_generator import SequenceGenerator
from fairseq.utils import move_to_cuda
from torch import Tensor, nn

from dsp_fairseq.checkpoints.checkpoint import Checkpoint, load_checkpoint
from dsp_fairseq.checkpoints.weights import without_gates, zero_weights
from dsp_fairseq.errors import PruningError, exits_in_one_line
from dsp_fairseq.export.ctranslate2 import write_ctranslate2
from dsp_fairseq.heads.family import family_of
from dsp_fairseq.heads.layout import HeadLayout

SIDES = ("dense", "masked", "frozen", "exported", "none")


class Bench:
    """Builds the models of one shape and generates with them."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.dictionary = benchmark.make_dictionary(args.vocabulary)
        gated = self._config(benchmark.HEADS[args.shape])
        task = benchmark.make_task(gated, self.dictionary)
        torch.manual_seed(1)
        # Weights of a trained size, so that beams differ as they do in practice.
        self.weights = task.build_model(gated.model).state_dict()
        self.layout = family_of(gated.model).layout(gated.model)

    def _config(self, budget: int) -> Any:
        return benchmark.configure(self.args.shape, True, "--num-of-heads", str(budget))

    def model(self, side: str, budget: int, mask: Tensor) -> nn.Module:
        """One of :data:`SIDES`, ready to generate."""
        dense = without_gates(self.weights)
        if side in ("dense", "masked"):
            config = benchmark.configure(self.args.shape, False)
            weights = dense if side == "dense" else zero_weights(dense, self.layout, mask)
        elif side == "exported":
            exported = self.exported(budget, mask)
            config, weights = self._config(budget), exported.weights
            arguments = exported.state["cfg"]["model"]
        else:
            config = self._config(0 if side == "none" else budget)
            weights = {**self.weights, **(benchmark.frozen_at(mask) if side == "frozen" else {})}
        if side != "exported":
            arguments = config.model
        model = benchmark.make_task(config, self.dictionary).build_model(arguments)
        model.load_state_dict(weights)
        benchmark.place(self.args, model).eval()
        if side == "masked":
            _multiply_by_zero(model, self.layout, mask)
        model.make_generation_fast_(need_attn=False)
        return model

    def exported(self, budget: int, mask: Tensor) -> Checkpoint:
        """What dsp-export writes for this mask."""
        return benchmark.exported(self._config(budget), self.weights, self.layout, mask)

    def generate(self, model: nn.Module, sentences: int) -> Callable[[int], None]:
        """Translates one batch; the round chooses which."""
        generator = SequenceGenerator(
            [model],
            self.dictionary,
            beam_size=self.args.beam,
            max_len_a=0,
            max_len_b=self.args.length,
            min_len=self.args.length,
        )
        tokens = sentences * self.args.length
        batches = [
            benchmark.make_batch(self.dictionary, tokens, seed, sentences) for seed in range(4)
        ]
        if self.args.device == "cuda":
            batches = move_to_cuda(batches)
        return lambda number: generator.generate([model], batches[number % len(batches)])

    def ctranslate2(
        self, budget: int, mask: Tensor, quantization: str, sentences: int
    ) -> Callable[[int], None]:
        """Translates one batch with the CTranslate2 model of this mask."""
        import ctranslate2

        with tempfile.TemporaryDirectory() as folder:
            for language in ("de", "en"):
                self.dictionary.save(str(Path(folder) / f"dict.{language}.txt"))
            exported = self.exported(budget, mask)
            exported.state["cfg"]["task"] |= {
                "_name": "translation",
                "source_lang": "de",
                "target_lang": "en",
            }
            output = Path(folder) / "model"
            write_ctranslate2(exported, output, Path(folder), quantization)
            translator = ctranslate2.Translator(
                str(output), inter_threads=1, intra_threads=self.args.threads
            )
        numbers = range(self.dictionary.nspecial, self.dictionary.nspecial + self.args.length - 1)
        lines = [[self.dictionary[i + 7 * j] for i in numbers] for j in range(sentences)]

        def translate(_: int) -> None:
            translator.translate_batch(
                lines,
                beam_size=self.args.beam,
                min_decoding_length=self.args.length,
                max_decoding_length=self.args.length,
            )

        return translate


def _multiply_by_zero(model: nn.Module, layout: HeadLayout, mask: Tensor) -> None:
    for site, gate in layout.split(mask).items():
        attention = model.get_submodule(site.module_name)
        scale = gate.repeat_interleave(attention.head_dim).to(attention.out_proj.weight)
        attention.out_proj.register_forward_pre_hook(lambda _, x, scale=scale: (x[0] * scale,))


def _peak_memory(args: Namespace, side: str, budget: int, mask: Tensor) -> float:
    """MiB that weights and one batch need at most, measured in a process of its own."""
    benchmark.prepare(args)
    bench = Bench(args)
    model = bench.model(side, budget, mask)
    generate = bench.generate(model, args.sentences[0])
    bench.weights = {}
    gc.collect()
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    generate(0)
    return weights + _status("VmHWM") - before


def _masks(args: Namespace, layout: HeadLayout) -> Iterator[tuple[str, Tensor]]:
    for budget in args.num_of_heads or [layout.num_heads // 4]:
        for kind in args.masks:
            yield kind, benchmark.make_mask(layout, budget, kind)
    for path in args.heads_of:
        head_map = load_checkpoint(path).head_map()
        if (head_map.layout.sites, head_map.layout.heads) != (layout.sites, layout.heads):
            raise PruningError(f"{path} has {head_map.layout}, --shape {args.shape} has {layout}")
        yield str(path), head_map.mask


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


@exits_in_one_line
def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=7)
    parser.add_argument("--shape", choices=benchmark.SHAPES, default="tiny")
    benchmark.add_device(parser)
    benchmark.add_masks(parser)
    parser.add_argument("--heads-of", type=Path, nargs="+", default=[], metavar="CHECKPOINT",
                        help="also those heads that models of this shape keep")  # fmt: skip
    parser.add_argument("--sentences", type=int, nargs="+", default=[32, 1], help="batch sizes")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--length", type=int, default=24, help="forced output length")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--ctranslate2", action="store_true", help="also time CTranslate2 models")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory (Linux)")
    args = parser.parse_args()
    benchmark.prepare(args)
    if args.device == "cuda" and (args.memory or args.ctranslate2):
        raise PruningError("--memory and --ctranslate2 measure on the CPU: leave --device out")
    bench = Bench(args)
    n = bench.layout.num_heads
    figures = []
    for kind, mask in _masks(args, bench.layout):
        budget = int(mask.sum())
        models = {side: bench.model(side, budget, mask) for side in SIDES}
        for sentences in args.sentences:
            sides = {side: bench.generate(model, sentences) for side, model in models.items()}
            if args.ctranslate2:
                for name, k, which in (("dense", n, torch.ones(n)), ("pruned", budget, mask)):
                    for q in ("float32", "int8"):
                        sides[f"ct2 {name} {q}"] = bench.ctranslate2(k, which, q, sentences)
            seconds = benchmark.interleave(sides, args.repeats, warm_up=2)
            print(
                f"{args.shape}, K = {budget} of {n}, {kind} mask, batch {sentences}, "
                f"beam {args.beam}, {args.length} tokens, {benchmark.describe_device(args)}, "
                f"{args.repeats} rounds"
            )
            benchmark.print_speeds(seconds, budget / n)
            for q in ("float32", "int8") if args.ctranslate2 else ():
                pair = (seconds[f"ct2 {model} {q}"] for model in ("dense", "pruned"))
                middle, low, high = benchmark.ratio(*pair)
                print(
                    f"  ct2 pruned {q:<10} x {middle:.2f} of ct2 dense {q}  [{low:.2f}, {high:.2f}]"
                )
            figures.append({"K": budget, "mask": kind, "sentences": sentences, "seconds": seconds})
        if args.memory:
            print(f"  peak memory of weights and one batch of {args.sentences[0]}, MiB:")
            # Or freed pages of the model's making would be used again, unseen in the peak.
            os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
            processes = get_context("forkserver")
            processes.set_forkserver_preload(["dsp_fairseq.models.transformer"])
            for side in SIDES:
                with ProcessPoolExecutor(1, mp_context=processes) as pool:
                    peak = pool.submit(_peak_memory, args, side, budget, mask).result()
                print(f"  {side:<20} {peak:8.1f}")
                figures.append({"K": budget, "mask": kind, "side": side, "peak_mib": peak})
    benchmark.write_json(args.json, {"shape": args.shape, "runs": figures})


if __name__ == "__main__":
    main()
