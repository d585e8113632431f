"""Pipelined pruning, rival estimators and several budgets, through the stock commands."""

from __future__ import annotations

import pkgutil
import re

import pytest
import torch
from saved_models import stored_weights

from dsp_fairseq.estimators import ESTIMATORS
from dsp_fairseq.export.export import export_checkpoint

PIPELINED = ("--pruning-mode", "pipelined", "--finetune-updates", "4")


def _weights(state):
    return {k: v for k, v in state.items() if not k.startswith("head_gates.")}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_ends_in_exactly_k_heads(train, generate, folder, dense, name):
    run = folder / name
    outcome = train(
        *(run, *PIPELINED, "--finetune-from-model", dense, "--gate-estimator", name),
        *("--max-update", "4" if name == "random" else "10"),
    )
    assert outcome.status == 0, outcome.message
    assert "dense checkpoint: all its weights are taken, and importance is added" in outcome.log
    state = stored_weights(run / "checkpoint_last.pt")
    assert state["head_gates.frozen"] == 1
    assert state["head_gates.mask"].sum() == 6
    exported = run / "pruned.pt"
    export = export_checkpoint(run / "checkpoint_last.pt", exported, "pruned")
    assert f"|method:{name}|frozen:yes|" in export.signature
    masked, pruned = generate(run / "checkpoint_last.pt"), generate(exported)
    assert masked.status == pruned.status == 0
    assert masked.hypotheses == pruned.hypotheses


def test_pipelined_holds_the_weights_until_the_freeze(train, folder, dense):
    run = folder / "pipelined"
    flags = (*PIPELINED, "--finetune-from-model", dense, "--save-interval-updates", "1")
    assert train(run, *flags).status == 0
    start = _weights(stored_weights(dense))
    before, after = (stored_weights(next(run.glob(f"checkpoint_*_{n}.pt"))) for n in (6, 7))
    for name, value in _weights(before).items():
        assert torch.equal(value, start[name]), name
    assert before["head_gates.importance"].abs().max() > 0
    assert any(not torch.equal(v, start[k]) for k, v in _weights(after).items())
    assert torch.equal(
        after["head_gates.importance"],
        stored_weights(run / "checkpoint_last.pt")["head_gates.importance"],
    )


@pytest.mark.parametrize("updates", ["3", "7"])
def test_pipelined_resumes_its_own_run_and_not_the_dense_one(train, folder, dense, updates):
    flags = ("--pruning-mode", "pipelined", "--finetune-from-model", dense)
    # A run that has ended is not started again: fairseq would add one update to it.
    if not (folder / "whole").exists():
        assert train(folder / "whole", *flags).status == 0
    run = folder / f"interrupted-{updates}"
    assert train(run, *flags, "--max-update", updates).status == 0
    outcome = train(run, *flags)
    assert "dense checkpoint" not in outcome.log
    resumed, whole = (stored_weights(f / "checkpoint_last.pt") for f in (run, folder / "whole"))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_pipelined_is_repaired_at_the_freeze(train, folder, dense):
    """With a learning rate of nearly 0 the repair alone is seen."""
    flags = (*PIPELINED, "--finetune-from-model", dense, "--lr", "1e-30", "--num-of-heads", "12")
    losses = {}
    for number in ("0", "3"):
        run = folder / f"repaired-{number}"
        outcome = train(run, *flags, "--repair-batches", number)
        assert outcome.status == 0, outcome.message
        losses[number] = float(re.findall(r"valid on.* \| loss ([\d.]+)", outcome.log)[-1])
        errors = re.findall(r"repaired .* on 3 batches, relative squared error (\S+) -> (\S+) ",
                            outcome.log)  # fmt: skip
        assert len(errors) == int(number == "3")
    assert float(errors[0][1]) < float(errors[0][0])
    assert losses["3"] < losses["0"]
    whole, start = (
        stored_weights(folder / "repaired-3/checkpoint_last.pt"),
        _weights(stored_weights(dense)),
    )
    changed = {name for name, value in start.items() if not torch.allclose(value, whole[name])}
    assert changed and all(re.search(r"attn\.out_proj\.(weight|bias)$", name) for name in changed)


@pytest.mark.parametrize(
    "where", ["repair.Regression.solve", "mixin.copy.deepcopy", "mixin.sample_batches"]
)
def test_a_repair_without_memory_ends_the_training(train, folder, dense, monkeypatch, where):
    """fairseq would go on with a frozen model, of which nothing or a part is repaired."""
    path = f"dsp_fairseq.pruning.{where}"
    whole = pkgutil.resolve_name(path)

    def fail(*args, **flags):
        if where == "mixin.copy.deepcopy" and not isinstance(args[0], torch.nn.Module):
            return whole(*args, **flags)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(path, fail)
    flags = ("--pruning-mode", "pipelined", "--finetune-from-model", dense)
    outcome = train(folder / f"full-{where}", *flags, "--repair-batches", "2")
    assert outcome.status == 1
    assert outcome.message.startswith("dsp_fairseq: error: the repair at the freeze needs more")


def test_a_repair_leaves_the_batches_of_the_training_alone(train, folder):
    """fairseq's multilingual task gives whoever asks for batches those of the training."""
    task = ("--task", "translation_multi_simple_epoch", "--lang-pairs", "de-en", "--langs", "de,en")
    task += ("--sampling-method", "RoundRobin", "--disable-validation", "--no-epoch-checkpoints")
    dense = folder / "multilingual"
    assert train(dense, *task, "--max-update", "2", "--num-of-heads", "24").status == 0
    flags = (*task, *PIPELINED, "--finetune-from-model", dense / "checkpoint_last.pt")
    places = []
    for more in ((), ("--repair-batches", "2")):
        run = folder / f"repaired{len(more)}"
        assert train(run, *flags, *more, "--max-update", "10").status == 0
        state = torch.load(run / "checkpoint_last.pt", weights_only=True)
        places.append(state["extra_state"]["train_iterator"])
    assert places[0] == places[1]


def test_a_repaired_training_resumes_as_if_it_was_not_interrupted(train, folder, dense):
    flags = ("--pruning-mode", "pipelined", "--finetune-from-model", dense, "--repair-batches", "2")
    assert train(folder / "whole-repair", *flags).status == 0
    run = folder / "interrupted-repair"
    for updates in ("3", "6", "8"):
        assert train(run, *flags, "--max-update", updates).status == 0
    assert "repaired" not in train(run, *flags).log
    resumed, whole = (
        stored_weights(f / "checkpoint_last.pt") for f in (run, folder / "whole-repair")
    )
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_pipelined_from_a_gated_model_with_all_its_heads(train, folder):
    dense = folder / "gated-dense"
    assert train(dense, "--num-of-heads", "24", "--max-update", "3").status == 0
    outcome = train(
        *(folder / "from-gated", *PIPELINED),
        *("--finetune-from-model", dense / "checkpoint_last.pt"),
    )
    assert outcome.status == 0
    assert "dense checkpoint" in outcome.log


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--pruning-mode", "pipelined"), "name its checkpoint with --finetune-from-model"),
        (("--finetune-updates", "3"), "--finetune-updates belongs to --pruning-mode pipelined"),
        (("--repair-batches", "3"), "--repair-batches belongs to --pruning-mode pipelined"),
        ((*PIPELINED, "--repair-batches", "-1"), "--repair-batches -1 must not be negative"),
        ((*PIPELINED, "--repair-batches", "3", "--num-of-heads", "6,4"), "give one budget above 0"),
        ((*PIPELINED, "--repair-batches", "3", "--num-of-heads", "0"), "give one budget above 0"),
        (("--l0-penalty", "0.1"), "--l0-penalty belongs to --gate-estimator hard-concrete"),
        (("--gate-estimator", "ste", "--final-noise", "0"), "ste adds no noise to importance"),
        (("--gate-estimator", "pass", "--num-of-heads", "4,6"), "takes one budget"),
        (("--num-of-heads", "4,4"), "names a budget twice"),
        (("--initial-noise", "-1"), "--initial-noise -1 must be 0 or more"),
    ],
)
def test_flags_that_do_not_fit(train, tmp_path, flags, message):
    outcome = train(tmp_path / "run", *flags)
    assert outcome.status != 0
    assert message in outcome.message
    assert not list(tmp_path.glob("run/*.pt"))


def test_training_must_end_where_the_fine_tuning_does(train, folder, dense, tmp_path):
    outcome = train(
        *(tmp_path / "run", *PIPELINED, "--finetune-from-model", dense, "--max-update", "12"),
    )
    assert "make 10 updates: give --max-update 10" in outcome.message


@pytest.fixture
def several(train, folder):
    """One training for 6, 12 and all 24 heads."""
    run = folder / "several"
    if not (run / "checkpoint_last.pt").exists():
        outcome = train(
            *(run, "--num-of-heads", "6,12,24", "--gate-estimator", "sigmoid"),
            *("--max-update", "16"),
        )
        assert outcome.status == 0
        (run / "log.txt").write_text(outcome.log)
    return run


def test_several_budgets_take_turns_and_freeze_in_one_order(several):
    log = (several / "log.txt").read_text()
    assert "keeping 6 and 12 and 24 of 24 heads" in log
    assert "froze 6 and 12 and 24 of 24 heads at update 6" in log
    train_inner = re.findall(r"\bgate_sum=(\d+)", log)
    assert {"6", "12", "24"} <= set(train_inner)
    state = stored_weights(several / "checkpoint_last.pt")
    assert state["head_gates.mask"].sum() == 6
    assert state["head_gates.budgets"].nonzero().flatten().tolist() == [6, 12, 24]


@pytest.mark.parametrize("k", [6, 12, 24])
def test_each_budget_generates_and_exports_alike(several, generate, k, tmp_path):
    checkpoint = several / "checkpoint_last.pt"
    export = export_checkpoint(checkpoint, tmp_path / "pruned.pt", "pruned", str(k))
    assert export.head_map.budget == k
    masked = generate(checkpoint, "--model-overrides", f"{{'num_of_heads': '{k}'}}")
    pruned = generate(tmp_path / "pruned.pt")
    assert masked.status == pruned.status == 0
    assert masked.hypotheses == pruned.hypotheses


def test_budgets_that_were_not_trained_are_refused(several, generate, tmp_path):
    checkpoint = several / "checkpoint_last.pt"
    outcome = generate(checkpoint, "--model-overrides", "{'num_of_heads': '7'}")
    assert "is frozen at 6 and 12 and 24 heads, but --num-of-heads is 7" in outcome.message


def test_resuming_several_budgets_is_the_same_run(train, several, folder):
    run = folder / "several-resumed"
    flags = ("--num-of-heads", "6,12,24", "--gate-estimator", "sigmoid")
    for updates in ("4", "9", "16"):
        assert train(run, *flags, "--max-update", updates).status == 0
    whole, resumed = (stored_weights(f / "checkpoint_last.pt") for f in (several, run))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize("updates", ["2", "6"])
def test_all_heads_first_and_resumed_is_the_same_run(train, folder, updates):
    flags = ("--gates-after", "4", "--cooldown-steps", "8")
    whole, resumed = folder / "late", folder / f"late-{updates}"
    if not whole.exists():
        log = train(whole, *flags).log
        assert "all heads for 4 updates, then temperature 1 to 0.1 over 4 updates" in log
        gate_sums = [float(s) for s in re.findall(r"\bgate_sum=([\d.]+)", log)]
        assert gate_sums == [24] * 4 + [6] * 6
    for until in (updates, "10"):
        assert train(resumed, *flags, "--max-update", until).status == 0
    a, b = (stored_weights(run / "checkpoint_last.pt") for run in (whole, resumed))
    for name, value in a.items():
        assert torch.equal(value, b[name]), name
