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
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import benchmark
import torch
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor, nn

from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.checkpoints.weights import without_gates, zero_weights
from dsp_fairseq.export.ctranslate2 import write_ctranslate2
from dsp_fairseq.export.pruned import pruned_checkpoint
from dsp_fairseq.heads.family import family_of
from dsp_fairseq.heads.head_map import HeadMap
from dsp_fairseq.heads.layout import HeadLayout

MASKS = ("even", "concentrated")
SIDES = ("dense", "masked", "frozen", "exported", "none")


def make_mask(layout: HeadLayout, budget: int, kind: str) -> Tensor:
    """K heads: ``even``, one a site in turn; ``concentrated``, whole sites from the top down."""
    sites = sorted(layout.sites, key=lambda site: -site.layer)
    heads = dict(zip(layout.sites, layout.heads, strict=True))
    if kind == "even":
        order = [(site, h) for h in range(max(layout.heads)) for site in sites if h < heads[site]]
    else:
        order = [(site, h) for site in sites for h in range(heads[site])]
    kept: dict[Any, list[int]] = {}
    for site, head in order[:budget]:
        kept.setdefault(site, []).append(head)
    return layout.mask(kept)


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
            budgets = torch.zeros(self.layout.num_heads + 1)
            budgets[budget] = 1.0
            gates = {
                "head_gates.mask": mask,
                "head_gates.frozen": torch.tensor(1.0),
                "head_gates.budgets": budgets,
            }
            weights = {**self.weights, **(gates if side == "frozen" else {})}
        if side != "exported":
            arguments = config.model
        model = benchmark.make_task(config, self.dictionary).build_model(arguments)
        model.load_state_dict(weights)
        model.eval()
        if side == "masked":
            _multiply_by_zero(model, self.layout, mask)
        model.make_generation_fast_(need_attn=False)
        return model

    def exported(self, budget: int, mask: Tensor) -> Checkpoint:
        """What dsp-export writes for this mask."""
        config = self._config(budget)
        state = {"cfg": {"model": config.model, "task": dict(config.task)}, "model": self.weights}
        state |= {"optimizer_history": [{"lr_scheduler_state": {}}], "extra_state": {}}
        path = Path("benchmark")
        head_map = HeadMap(self.layout, None, mask, True, budget)
        return pruned_checkpoint(Checkpoint(path, state), head_map, path)

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
        batches = [
            benchmark.make_batch(self.dictionary, sentences * self.args.length, seed, sentences)
            for seed in range(4)
        ]
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
        scale = gate.repeat_interleave(attention.head_dim)
        attention.out_proj.register_forward_pre_hook(lambda _, x, scale=scale: (x[0] * scale,))


def _peak_memory(args: Namespace, side: str, budget: int, kind: str) -> float:
    """MiB that weights and one batch need at most, measured in a process of its own."""
    benchmark.prepare(args)
    bench = Bench(args)
    mask = make_mask(bench.layout, budget, kind)
    model = bench.model(side, budget, mask)
    generate = bench.generate(model, args.sentences[0])
    bench.weights = {}
    gc.collect()
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    generate(0)
    return weights + _status("VmHWM") - before


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def report(
    seconds: dict[str, list[float]], share: float
) -> Iterable[tuple[str, float, list[float]]]:
    """(side, median seconds, speed-up over dense with its interval), the ideal included."""
    dense, none = seconds["dense"], seconds["none"]
    seconds = {
        **seconds,
        "ideal": [d - (1 - share) * (d - n) for d, n in zip(dense, none, strict=True)],
    }
    for side, values in seconds.items():
        middle, low, high = benchmark.ratio(dense, values)
        yield side, statistics.median(values), [middle, low, high]


def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=7)
    parser.add_argument("--shape", choices=benchmark.SHAPES, default="tiny")
    parser.add_argument("--num-of-heads", type=int, nargs="+", help="K (default: a quarter)")
    parser.add_argument("--masks", choices=MASKS, nargs="+", default=list(MASKS))
    parser.add_argument("--sentences", type=int, nargs="+", default=[32, 1], help="batch sizes")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--length", type=int, default=24, help="forced output length")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--ctranslate2", action="store_true", help="also time CTranslate2 models")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory (Linux)")
    args = parser.parse_args()
    benchmark.prepare(args)
    bench = Bench(args)
    n = bench.layout.num_heads
    figures = []
    for budget in args.num_of_heads or [n // 4]:
        for kind in args.masks:
            mask = make_mask(bench.layout, budget, kind)
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
                    f"beam {args.beam}, {args.length} tokens, {args.threads} threads, "
                    f"{args.repeats} rounds"
                )
                for side, median, (middle, low, high) in report(seconds, budget / n):
                    print(
                        f"  {side:<20} {median:8.4f} s   x {middle:.2f} of dense speed"
                        f"  [{low:.2f}, {high:.2f}]"
                    )
                figures.append(
                    {"K": budget, "mask": kind, "sentences": sentences, "seconds": seconds}
                )
            if args.memory:
                print(f"  peak memory of weights and one batch of {args.sentences[0]}, MiB:")
                # Or freed pages of the model's making would be used again, unseen in the peak.
                os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
                for side in SIDES:
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                        peak = pool.submit(_peak_memory, args, side, budget, kind).result()
                    print(f"  {side:<20} {peak:8.1f}")
                    figures.append({"K": budget, "mask": kind, "side": side, "peak_mib": peak})
    benchmark.write_json(args.json, {"shape": args.shape, "runs": figures})


if __name__ == "__main__":
    main()
