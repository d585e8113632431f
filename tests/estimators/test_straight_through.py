"""Straight-through top-K."""

from __future__ import annotations

import torch

from dsp_fairseq.estimators import (
    straight_through_top_k,
)


def test_straight_through_is_hard_forward_and_identity_backward():
    x = torch.tensor([0.3, 0.3, 0.3, -1.0, 2.0], requires_grad=True)
    gates = straight_through_top_k(x, 3)
    assert gates.tolist() == [1, 1, 0, 0, 1]
    (gates * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [1, 2, 3, 4, 5]
