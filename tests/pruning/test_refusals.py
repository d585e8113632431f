"""What is refused, and what is not."""

from __future__ import annotations

from argparse import Namespace
from contextlib import nullcontext

import pytest
from omegaconf import OmegaConf

from dsp_fairseq.errors import PruningError
from dsp_fairseq.heads.family import family_of
from dsp_fairseq.pruning.flags import as_namespace, expect_unused_parameters
from dsp_fairseq.pruning.refusals import refuse_training, refuse_worst_checkpoint


def test_unflattened_fp16_is_accepted(build):
    build(6, fp16=True, fp16_no_flatten_grads=True)
    build(6, fp16=True, memory_efficient_fp16=True)


def test_processes_on_cpus_need_the_other_wrapper():
    flags = {"cpu": True, "criterion": "dsp_label_smoothed_cross_entropy"}
    family = family_of(Namespace(_name="dsp_transformer"))
    refuse_training(Namespace(**flags, ddp_backend="pytorch_ddp", distributed_world_size=1), family)
    refuse_training(Namespace(**flags, ddp_backend="legacy_ddp", distributed_world_size=2), family)
    with pytest.raises(PruningError, match="on CPUs use --ddp-backend legacy_ddp"):
        refuse_training(
            Namespace(**flags, ddp_backend="pytorch_ddp", distributed_world_size=2), family
        )


@pytest.mark.parametrize(
    ("metric", "maximize", "refused"),
    [
        *(("accuracy", False, True), ("bleu", False, True), ("loss", True, True)),
        *(("ppl", True, True), ("nll_loss", True, True)),
        *(("accuracy", True, False), ("bleu", True, False), ("loss", False, False)),
        # Of others it is not known which is better.
        *(("mine", True, False), ("mine", False, False), (None, None, False)),
    ],
)
def test_the_worst_checkpoint_is_not_kept_as_the_best(metric, maximize, refused):
    flags = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": maximize}
    config = OmegaConf.create({"model": {"_name": "x"}, "checkpoint": flags})
    for args in (Namespace(**flags), as_namespace(config.model)):
        with pytest.raises(PruningError, match="worst") if refused else nullcontext():
            refuse_worst_checkpoint(args)


def test_a_training_tells_pytorch_ddp_of_parameters_without_gradients():
    parsed = Namespace()
    expect_unused_parameters(parsed)
    assert parsed.find_unused_parameters
    config = OmegaConf.create(
        {"model": {"num_of_heads": 6}, "distributed_training": {"find_unused_parameters": False}}
    )
    expect_unused_parameters(config.model)
    assert config.distributed_training.find_unused_parameters
    alone = OmegaConf.create({"model": {"num_of_heads": 6}})
    expect_unused_parameters(alone.model)
    assert alone == {"model": {"num_of_heads": 6}}
