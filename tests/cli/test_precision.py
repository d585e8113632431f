"""16 bits: importance and estimators stay in float32, and exactly K heads are left."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest
import torch

from dsp_fairseq import USER_DIR

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def _check(path, log):
    losses = [
        float(loss) for loss in re.findall(r'(?:epoch \d+ \| loss |"train_loss": ")([^" ]+)', log)
    ]
    assert losses and all(map(math.isfinite, losses))
    state = torch.load(path, weights_only=True)["model"]
    importance = state["head_gates.importance"]
    # fairseq saves all in 32 bits: what was trained in 16 has no more digits than that.
    for short in (torch.float16, torch.bfloat16):
        assert not torch.equal(importance.to(short).float(), importance)
    assert state["head_gates.mask"].sum() == 6
    assert state["head_gates.frozen"] == 1


def test_the_check_in_32_bits_on_a_cpu(train, tmp_path):
    """So that what is asked of 16 bits is known to hold in 32."""
    outcome = train(tmp_path, "--max-update", "12")
    assert outcome.status == 0, outcome.message
    _check(tmp_path / "checkpoint_last.pt", outcome.log)


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize(
    "flags",
    [("--fp16", "--fp16-no-flatten-grads"), ("--memory-efficient-fp16",), ("--amp",)],
    ids=lambda flags: flags[0],
)
def test_sixteen_bits_by_fairseq_train(train, tmp_path, flags):
    outcome = train(tmp_path, *flags, "--fp16-init-scale", "4", "--max-update", "12", cpu=False)
    assert outcome.status == 0, outcome.message
    _check(tmp_path / "checkpoint_last.pt", outcome.log)


@pytest.mark.parametrize(
    "flags",
    [
        {"common.cpu": "true"},
        pytest.param({"common.bf16": "true"}, marks=(pytest.mark.gpu, NO_GPU)),
    ],
    ids=("fp32", "bf16"),
)
def test_training_by_hydra(corpus, warm, tmp_path, flags):
    overrides = {
        **flags,
        "common.user_dir": USER_DIR,
        "task.data": corpus,
        "distributed_training.distributed_world_size": 1,
        "model.num_of_heads": 6,
        "+model.encoder_layers": 2,
        "+model.decoder_layers": 2,
        "model.cooldown_steps": 6,
        "optimization.max_update": 12,
        "optimization.lr": "[0.001]",
        "dataset.max_tokens": 1200,
        "checkpoint.save_dir": tmp_path / "run",
        "hydra.run.dir": tmp_path / "logs",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fairseq_cli.hydra_train"),
            *("--config-dir", str(USER_DIR / "hydra"), "--config-name", "joint"),
            *(f"{key}={value}" for key, value in overrides.items()),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    _check(tmp_path / "run/checkpoint_last.pt", done.stdout + done.stderr)
