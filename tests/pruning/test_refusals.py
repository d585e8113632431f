"""What is refused, and what is not."""

from __future__ import annotations


def test_several_processes_are_accepted_where_absent_gradients_are(build):
    build(6, ddp_backend="legacy_ddp", distributed_world_size=2)
    build(6, ddp_backend="pytorch_ddp", distributed_world_size=2, find_unused_parameters=True)
    build(6, ddp_backend="pytorch_ddp", distributed_world_size=1)


def test_unflattened_fp16_is_accepted(build):
    build(6, fp16=True, fp16_no_flatten_grads=True)
    build(6, fp16=True, memory_efficient_fp16=True)
