#!/usr/bin/env python3
"""Cost of one gate draw with its gradient, per estimator, beside the paper's formula as it stands.

"formula" is K successive softmaxes in single precision, differentiated by autograd. Where an
estimator adds a penalty to the loss, its cost is included.
"""

from __future__ import annotations

import statistics
from functools import partial

import benchmark
import torch
from torch import Tensor

from dsp_fairseq.estimators import ESTIMATORS, Estimator, gumbel_noise


def formula(importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
    """The relaxed subset sample, written down as in Xie and Ermon (2019)."""
    r = importance + noise.float()
    gates = torch.zeros_like(r)
    for _ in range(k):
        p = torch.softmax(r / temperature, 0)
        r = r + torch.log((1 - p).clamp_min(1e-20))
        gates = gates + p
    return gates


class Formula(Estimator):
    """The formula as an estimator, to be timed like the others."""

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        return formula(importance, k, temperature, noise)


def draw_once(estimator: Estimator, importance: Tensor, k: int, temperature: float, update: int):
    """One draw, and the gradient of a function of its gates."""
    noise = gumbel_noise(importance.numel(), 1, update)
    loss = estimator(importance, k, temperature, noise).pow(2).sum()
    penalty = estimator.penalty(importance, k, temperature, 0.5)
    (loss if penalty is None else loss + penalty).backward()


def main() -> None:
    parser = benchmark.parser(__doc__.split("\n")[0], repeats=31)
    parser.set_defaults(threads=1)
    parser.add_argument("--heads", type=int, nargs="+", default=[72, 288, 1152])
    parser.add_argument("--temperature", type=float, default=0.1)
    args = parser.parse_args()
    benchmark.prepare(args)
    classes = {"formula": Formula, **{n: cls for n, cls in ESTIMATORS.items() if cls.learns}}
    figures = []
    for n in args.heads:
        for k in (n // 4, n // 2):
            importance = torch.randn(n, requires_grad=True)
            sides = {
                name: partial(
                    draw_once,
                    cls(concentrator=0.1, sizes=[4] * (n // 4)),
                    importance,
                    k,
                    args.temperature,
                )
                for name, cls in classes.items()
            }
            seconds = benchmark.interleave(sides, args.repeats, warm_up=3)
            print(f"N = {n}, K = {k}, {args.threads} thread, {args.repeats} rounds")
            for name, values in seconds.items():
                middle, low, high = benchmark.ratio(seconds["formula"], values)
                print(
                    f"  {name:<13} {statistics.median(values) * 1e3:9.3f} ms   x {middle:.2f} of "
                    f"the formula's speed  [{low:.2f}, {high:.2f}]"
                )
            figures.append({"N": n, "K": k, "seconds": seconds})
    benchmark.write_json(args.json, figures)


if __name__ == "__main__":
    main()
