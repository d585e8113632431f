"""The gated checkpoint that a dense one becomes when its heads are ranked."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch

from dsp_fairseq.analysis.ranked import gated_checkpoint
from dsp_fairseq.analysis.ranking import RankingOptions
from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.errors import PruningError

N = 24
OPTIONS = RankingOptions("random", 5)


def _state(arguments, **config):
    return {
        "args": None,
        "cfg": {"model": arguments, "criterion": {}, "optimizer": {"_name": "adam"}, **config},
        "model": {},
        "extra_state": {"best": 3.0, "train_iterator": {"epoch": 2}},
    }


def test_a_stock_config_becomes_a_gated_one(arguments, tmp_path, task, build_stock):
    stock = {
        **vars(arguments()),
        "arch": "transformer_iwslt_de_en",
        "optimizer": "adam",
        "fp16": True,
        "ddp_backend": "pytorch_ddp",
        "distributed_world_size": 8,
        "checkpoint_activations": True,
        "encoder_embed_path": "gone.txt",
    }
    for name in ("num_of_heads", "initial_temperature", "final_temperature", "cooldown_steps"):
        del stock[name]
    criterion = {"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.2, "other": 1}
    state = _state(Namespace(**stock), criterion=criterion)
    options = RankingOptions("random", 5, "decoder.cross=1", seed=3)
    made = gated_checkpoint(Checkpoint(tmp_path, state), tmp_path, options).state
    model = made["cfg"]["model"]
    assert model.arch == model._name == "dsp_transformer_iwslt_de_en"
    assert (model.num_of_heads, model.keep_at_least, model.gate_seed) == ("5", "decoder.cross=1", 3)
    assert made["cfg"]["criterion"] == {
        "_name": "dsp_label_smoothed_cross_entropy",
        "label_smoothing": 0.2,
        "sentence_avg": False,
    }
    assert made["extra_state"] == {"train_iterator": {"epoch": 2}}
    assert state["cfg"]["model"].optimizer == "adam"
    from dsp_fairseq.models.transformer import DspTransformerModel

    gated = DspTransformerModel.build_model(model, task)
    assert gated.head_gates.layout.num_heads == 24
    assert not gated.cfg.checkpoint_activations


@pytest.mark.parametrize(
    ("flags", "extra", "message"),
    [
        (
            {"arch": "fconv"},
            {},
            "x.pt: fconv is not of a known model family",
        ),
        ({"kept_heads": "none"}, {}, "is exported, its heads are chosen"),
        ({"arch": "transformer"}, {"dsp_signature": "K:6"}, "is exported, its heads are chosen"),
    ],
)
def test_other_checkpoints_are_refused(arguments, tmp_path, flags, extra, message):
    state = {**_state(arguments(**flags)), **extra}
    with pytest.raises(PruningError, match=message):
        gated_checkpoint(Checkpoint(tmp_path / "x.pt", state), tmp_path, OPTIONS)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_pruned_checkpoint_is_refused(arguments, build, tmp_path, frozen):
    model = build(6)
    if frozen:
        model.head_gates.adopt(torch.rand(N))
    state = {**_state(arguments("6")), "model": model.state_dict()}
    with pytest.raises(PruningError, match="is pruned, to 6 of 24 heads: give a dense checkpoint"):
        gated_checkpoint(Checkpoint(tmp_path / "x.pt", state), tmp_path, OPTIONS)
