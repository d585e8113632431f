"""The pruning flags: each mistake is one clear line."""

from __future__ import annotations


def test_freeze_defaults_to_the_end_of_the_cooldown(build):
    assert build(6, cooldown_steps=77).head_gates.plan.freeze_after == 77
    assert build(6, cooldown_steps=77, freeze_heads_after=5).head_gates.plan.freeze_after == 5
