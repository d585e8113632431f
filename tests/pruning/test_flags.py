"""The pruning flags: each mistake is one clear line."""

from __future__ import annotations

import re
from pathlib import Path

from dsp_fairseq.pruning import flags


def test_freeze_defaults_to_the_end_of_the_cooldown(build):
    assert build(6, cooldown_steps=77).head_gates.plan.freeze_after == 77
    assert build(6, cooldown_steps=77, freeze_heads_after=5).head_gates.plan.freeze_after == 5


def test_every_flag_that_is_asked_for_is_found_in_a_config_of_hydra():
    """One that is not would be taken for not given."""
    asked = set()
    for path in Path(flags.__file__).parents[1].rglob("*.py"):
        asked |= set(re.findall(r'training_flag\([\w.]+, "(\w+)"\)', path.read_text("utf-8")))
    assert len(asked) > 10
    assert asked <= set(flags.TRAINING_FLAGS)
