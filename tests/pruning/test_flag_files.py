"""Flags whose files are read once, so that the stored configuration names none."""

from __future__ import annotations

from argparse import Namespace

import pytest
from omegaconf import OmegaConf

from dsp_fairseq.errors import PruningError
from dsp_fairseq.pruning.flag_files import resolve_head_costs, resolve_kept_heads


def test_prices_of_a_file_replace_its_name(tmp_path):
    path = tmp_path / "costs.yaml"
    path.write_text("costs: {encoder.self: 1, decoder.self: 4.5}")
    plain, config = Namespace(head_costs=str(path)), OmegaConf.create({"head_costs": str(path)})
    OmegaConf.set_struct(config, True)
    for args in (plain, config, Namespace(head_costs=None)):
        resolve_head_costs(args)
    assert plain.head_costs == config.head_costs == "encoder.self=1,decoder.self=4.5"


def test_kept_heads_that_are_named_stay_and_count():
    args = Namespace(kept_heads="encoder.self.0=1,2;decoder.self.1=0", num_of_heads="3")
    resolve_kept_heads(args)
    assert args.kept_heads == "encoder.self.0=1,2;decoder.self.1=0"
    args.num_of_heads = "2"
    with pytest.raises(PruningError, match="exported with 3 heads"):
        resolve_kept_heads(args)


def test_another_budget_beside_kept_heads_is_refused(tmp_path):
    args = Namespace(kept_heads=str(tmp_path / "none.pt"), num_of_heads=None, cost_budget="3")
    with pytest.raises(PruningError, match="leave out --cost-budget"):
        resolve_kept_heads(args)
