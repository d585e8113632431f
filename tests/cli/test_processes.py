"""Training in several processes: one model, the same on all ranks, and that of one process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from saved_models import stored_weights

from dsp_fairseq.experiments.commands import train_command
from dsp_fairseq.experiments.recipe import Recipe

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/train-processes.sh"
UPDATES = {
    "--max-update": "6",
    "--cooldown-steps": "4",
    "--batch-size": "8",
    "--dropout": "0",
    # With the usual one, Adam makes whole steps of the rounding of gradients that are almost 0, as
    # those of closing heads are.
    "--adam-eps": "1e-4",
}

# What fairseq-train says.
TOGETHER = "echo '| training on 2 devices (GPUs/TPUs)'"
DONE = "echo '| done training in 1.5 seconds'"

# fairseq-train that writes down what each rank drew, and what its gates were in the end.
RECORDER = """\
#!{python}
import os, sys
sys.path.insert(0, {root!r})
import torch
from dsp_fairseq.pruning.gates import HeadGates
from fairseq_cli.train import cli_main
drawn, seen = {{}}, []
forward, begin = HeadGates.forward, HeadGates.begin_forward
if "--ddp-backend=pytorch_ddp" in sys.argv:
    # fairseq names a GPU to PyTorch's DDP, which is what we refuse; here it runs on CPUs.
    import fairseq.models.distributed_fairseq_model as wrappers
    from dsp_fairseq.pruning import mixin
    ddp = wrappers.DistributedDataParallel
    wrappers.DistributedDataParallel = lambda **flags: ddp(
        **{{**flags, "device_ids": None, "output_device": None}}
    )
    mixin.refuse_training = lambda args, family: None
def record(self):
    gates = forward(self)
    drawn.setdefault(self.num_updates, []).append(gates.detach().clone())
    return gates
def see(self):
    seen[:] = [self]
    return begin(self)
HeadGates.forward, HeadGates.begin_forward = record, see
cli_main()
torch.save(
    {{"drawn": drawn, "gates": seen[0].state_dict()}}, f"{folder}/rank" + os.environ["RANK"]
)
"""


@pytest.fixture
def launch(corpus, gated_flags, warm, tmp_path):
    """Runs the script; returns what it printed and per rank what was recorded."""
    tools = tmp_path / "tools"
    tools.mkdir()
    recorder = tools / "fairseq-train"
    recorder.write_text(
        RECORDER.format(python=warm.python, root=str(ROOT), folder=tmp_path / "tools")
    )
    recorder.chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ["PATH"]])

    def run(processes: int, folder: Path, *flags: str | Path) -> tuple[str, list[dict]]:
        given = {str(flag) for flag in flags}
        defaults = gated_flags | UPDATES | {"--save-dir": str(folder)}
        defaults.pop("--distributed-world-size")
        defaults.pop("--max-tokens")
        rest = [part for pair in defaults.items() if pair[0] not in given for part in pair]
        done = subprocess.run(
            ["bash", str(SCRIPT), str(processes), str(corpus), "--cpu", "--share-all-embeddings",
             *rest, *map(str, flags)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        ranks = [torch.load(tools / f"rank{rank}") for rank in range(processes)]
        return done.stdout, ranks

    return run


def _assert_ranks_agree(ranks: list[dict], processes: int) -> None:
    assert len(ranks) == processes
    first = ranks[0]
    for other in ranks[1:]:
        assert other["drawn"].keys() == first["drawn"].keys()
        for update, gates in first["drawn"].items():
            for mine, theirs in zip(gates, other["drawn"][update], strict=True):
                assert torch.equal(mine, theirs), update
        for name, value in first["gates"].items():
            assert torch.equal(value, other["gates"][name]), name
    assert first["gates"]["frozen"] == 1
    assert first["gates"]["mask"].sum() == 6


def _losses(log: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"epoch \d+:\s+\d+ / \d+ loss=([\d.]+)", log)]


def _model(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def _assert_same_model(one: Path, other: Path) -> None:
    model, others = _model(one), _model(other)
    for name in ("mask", "frozen", "last_change"):
        assert torch.equal(model[f"head_gates.{name}"], others[f"head_gates.{name}"]), name
    order, other_order = (m["head_gates.importance"].argsort() for m in (model, others))
    assert torch.equal(order, other_order)
    assert model.keys() == others.keys()
    for name, value in model.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.fixture
def alone(train, tmp_path):
    """The same training in one process."""

    def run(update_freq: int, *more: str | Path) -> tuple[str, Path]:
        folder = tmp_path / f"alone{update_freq}"
        flags = [part for pair in UPDATES.items() for part in pair]
        outcome = train(
            *(folder, "--update-freq", str(update_freq), *flags, *more),
            *("--max-tokens", "100000"),
        )
        assert outcome.status == 0, outcome.message
        return outcome.log, folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["legacy_ddp", "pytorch_ddp"])
def test_two_processes_interrupted_equal_one_of_two_micro_batches(launch, alone, tmp_path, backend):
    folder, backend = tmp_path / "two", f"--ddp-backend={backend}"
    before, ranks = launch(2, folder, "--max-update", "3", backend)
    assert sorted(ranks[0]["drawn"]) == [0, 1, 2]
    for mine, theirs in zip(*(rank["drawn"].values() for rank in ranks), strict=True):
        assert torch.equal(mine[0], theirs[0])
    after, ranks = launch(2, folder, backend)
    assert "froze 6 of 24 heads" in after
    _assert_ranks_agree(ranks, 2)

    log, one = alone(2)
    losses = _losses(before) + _losses(after)
    assert len(losses) == 6
    assert losses == pytest.approx(_losses(log), abs=2e-3)
    _assert_same_model(folder, one)


@pytest.mark.slow
def test_four_processes_equal_one_of_four_micro_batches(launch, alone, tmp_path):
    out, ranks = launch(4, tmp_path / "four", "--ddp-backend=pytorch_ddp")
    _assert_ranks_agree(ranks, 4)
    log, one = alone(4)
    assert _losses(out) == pytest.approx(_losses(log), abs=2e-3)
    _assert_same_model(tmp_path / "four", one)


@pytest.mark.slow
def test_two_processes_learn_from_one_teacher(launch, alone, train, tmp_path):
    dense = tmp_path / "dense/checkpoint_last.pt"
    assert train(dense.parent, "--max-update", "2", gated=False).status == 0
    teacher = ("--distill-from", dense, "--distill-temperature", "2")
    out, ranks = launch(2, tmp_path / "two", *teacher)
    _assert_ranks_agree(ranks, 2)
    log, one = alone(2, *teacher)
    for name in ("loss", "distill"):
        ours, theirs = (re.findall(rf"\b{name}=([\d.]+)", text) for text in (out, log))
        assert len(ours) == 6
        assert [*map(float, ours)] == pytest.approx([*map(float, theirs)], abs=2e-3)
    _assert_same_model(tmp_path / "two", one)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["legacy_ddp", "pytorch_ddp"])
def test_pipelined_holds_the_weights_in_two_processes(launch, train, tmp_path, backend):
    dense = tmp_path / "dense/checkpoint_last.pt"
    assert train(dense.parent, "--max-update", "2", gated=False).status == 0
    folder = tmp_path / "pipelined"
    _, ranks = launch(
        *(2, folder, "--pruning-mode", "pipelined", "--finetune-from-model", dense),
        *("--finetune-updates", "2", "--save-interval-updates", "2", "--update-freq", "2"),
        f"--ddp-backend={backend}",
    )
    _assert_ranks_agree(ranks, 2)
    assert all(len(gates) == 2 and torch.equal(*gates) for gates in ranks[0]["drawn"].values())
    start, held, tuned = (
        stored_weights(path)
        for path in (dense, folder / "checkpoint_1_4.pt", folder / "checkpoint_1_6.pt")
    )
    for name, value in start.items():
        assert torch.equal(value, held[name]), name
    assert held["head_gates.importance"].abs().max() > 0
    assert any(not torch.equal(value, tuned[name]) for name, value in start.items())


@pytest.fixture
def script(tmp_path, corpus):
    """Runs the script with a fairseq-train of a test's own making."""

    def run(*arguments: str, program: str = "exit 0") -> subprocess.CompletedProcess[str]:
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "fairseq-train").write_text(f"#!/bin/sh\n{program}\n")
        (tools / "fairseq-train").chmod(0o755)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            capture_output=True, text=True, env={**os.environ, "PATH": path},
        )  # fmt: skip

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("exit 0", "the processes did not train together"),
        (f"{TOGETHER.replace('2', '1')}; {DONE}", "did not train together"),
        (TOGETHER, "nothing was trained to its end"),
        (f"{TOGETHER}; exit 3", "a process failed"),
    ],
)
def test_it_does_not_succeed_having_trained_nothing(script, corpus, program, message):
    done = script("2", str(corpus), "--cpu", program=program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("train-processes.sh: error: ")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a number of processes and a data folder"),
        (("two", "."), "'two' is not a number of processes"),
        (("2", "nowhere"), "there is no data folder nowhere"),
        (("2", ".", "--distributed-world-size", "2"), "leave that to this script"),
    ],
)
def test_mistakes(script, arguments, message):
    done = script(*arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_dsp_run_starts_them_alike(tmp_path):
    made = Recipe("x", "data", {"num-of-heads": "6"}, processes=2)
    command = train_command(made, tmp_path, cpu=True)
    assert command[0] == "torchrun"
    assert "--distributed-no-spawn" in " ".join(command)
    assert command[command.index("--distributed-backend") + 1] == "gloo"
