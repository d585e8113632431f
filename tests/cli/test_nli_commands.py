"""Classification of sentence pairs with fairseq's commands and with the tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from saved_models import read_head_map
from tiny_data import LABELS, write_pairs

from dsp_fairseq import USER_DIR
from dsp_fairseq.analysis.ranking import LEARNED, RANKINGS
from dsp_fairseq.cli import average, export, heads, predict, prune, rank_heads
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.models.roberta import DspRobertaModel

BUDGET = 3


@pytest.fixture
def train(train_pairs) -> Callable:
    return train_pairs


@pytest.fixture
def trained(train, folder) -> Path:
    """A training of 2 layers of 4 heads, frozen at 3 heads half way; it ends at update 8."""
    last = folder / "run/checkpoint_last.pt"
    if not last.exists():
        outcome = train(last.parent, "--save-interval-updates", "2")
        assert outcome.status == 0, outcome.message or outcome.log
        assert re.search(r"valid on 'valid' subset.* accuracy \d+", outcome.log)
        assert "froze 3 of 8 heads" in outcome.log
    return last


@pytest.fixture
def dense(train, folder) -> Path:
    last = folder / "dense/checkpoint_last.pt"
    if not last.exists():
        assert train(last.parent, "--num-of-heads", "8", "--max-update", "2").status == 0
    return last


def _logits(path: Path, pairs: Path) -> torch.Tensor:
    overrides = {"data": str(pairs)}
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], overrides)
    dataset = task.load_dataset("test")
    sample = dataset.collater([dataset[i] for i in range(len(dataset))])
    with torch.no_grad():
        name = task.cfg.classification_head_name
        return models[0].eval()(**sample["net_input"], classification_head_name=name)[0]


def test_a_training_ends_with_exactly_the_heads_asked_for(trained, capsys):
    kept = read_head_map(trained)
    assert (kept.frozen, kept.budget, int(kept.mask.sum())) == (True, BUDGET, BUDGET)
    assert kept.layout.num_heads == 8
    heads.main([str(trained)])
    assert "encoder.self" in capsys.readouterr().out


def test_a_resumed_training_is_the_same_training(train, trained, folder):
    """The draws before the freeze, the freeze and the optimizer's state go on."""
    resumed = folder / "resumed"
    middle = trained.parent / "checkpoint_1_2.pt"
    outcome = train(resumed, "--restore-file", middle)
    assert outcome.status == 0, outcome.message or outcome.log
    one, other = (
        torch.load(path, weights_only=True)["model"]
        for path in (trained, resumed / "checkpoint_last.pt")
    )
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_exports_give_the_same_logits(trained, pairs, tmp_path, capsys):
    expected = _logits(trained, pairs)
    for form in ("pruned", "fairseq"):
        output = tmp_path / f"{form}.pt"
        flags = ["--format", form, "--check", str(pairs)]
        export.main([str(trained), *flags, "--output", str(output)])
        said = r"^check +12 of 12 predictions are the same; probabilities differ by (\S+) at most$"
        found = re.search(said, capsys.readouterr().out, re.M)
        assert found is not None and float(found[1]) < 1e-5
        torch.testing.assert_close(_logits(output, pairs), expected, atol=1e-5, rtol=1e-5)
    weights = torch.load(tmp_path / "pruned.pt", weights_only=True)["model"]
    rows = sum(v.size(0) for name, v in weights.items() if name.endswith("q_proj.weight"))
    assert rows == BUDGET * 8


def test_the_dense_shape_knows_nothing_of_this_package(trained, pairs, tmp_path, capsys):
    output = tmp_path / "stock.pt"
    export.main([str(trained), "--format", "fairseq", "--output", str(output)])
    config = torch.load(output, weights_only=True)["cfg"]
    assert config["task"]["_name"] == config["criterion"]["_name"] == "sentence_prediction"
    assert "dsp_" not in repr(config)
    capsys.readouterr()
    tables = []
    for path in (output, trained):
        predict.main([str(path), "--data", str(pairs), "--cpu"])
        tables.append(capsys.readouterr().out)
    assert "accuracy" in tables[0] and tables[0] == tables[1]


def test_predictions_and_rankings_of_fairseqs_own_classifier(run, pairs, tmp_path, capsys):
    shape = {"layers": 1, "embed-dim": 8, "ffn-embed-dim": 8, "attention-heads": 2}
    flags = [part for name, size in shape.items() for part in (f"--encoder-{name}", str(size))]
    outcome = run(
        *("train", pairs, "--arch", "roberta", *flags, "--task", "sentence_prediction", "--cpu"),
        *("--criterion", "sentence_prediction", "--num-classes", "3", "--init-token", "0"),
        *("--max-positions", "32", "--optimizer", "adam", "--lr", "1e-3", "--batch-size", "16"),
        *("--max-update", "1", "--num-workers", "0", "--save-dir", tmp_path),
    )
    assert outcome.status == 0, outcome.message or outcome.log
    stock = tmp_path / "checkpoint_last.pt"
    predict.main([str(stock), "--data", str(pairs), "--cpu"])
    assert re.search(r"accuracy .* of 12", capsys.readouterr().out)
    for method in ("michel", "random"):
        few, output = ("--num-of-heads", "1", "--cpu"), tmp_path / f"{method}.pt"
        rank_heads.main(
            [str(stock), "--data", str(pairs), "--method", method, *few, "--output", str(output)]
        )
        predict.main([str(output), "--data", str(pairs), "--cpu"])
        assert re.search(r"accuracy .* of 12", capsys.readouterr().out)
    assert (
        torch.load(output, weights_only=False)["cfg"]["task"]["_name"] == "dsp_sentence_prediction"
    )


def test_a_format_that_is_for_translation_only(trained, tmp_path):
    with pytest.raises(CommandExit) as stop:
        export.main([str(trained), "--format", "ctranslate2", "--output", str(tmp_path / "x")])
    assert "CTranslate2 holds translation models, not dsp_roberta" in str(stop.value)


def test_an_average_keeps_the_heads(trained, pairs, tmp_path):
    mean = tmp_path / "mean.pt"
    inputs = [str(trained.parent / name) for name in ("checkpoint2.pt", "checkpoint_3_8.pt")]
    average.main([*inputs, "--output", str(mean)])
    assert read_head_map(mean).kept == read_head_map(trained).kept
    assert _logits(mean, pairs).shape == (12, 3)


@pytest.mark.parametrize("method", sorted({*RANKINGS} - {LEARNED}))
def test_heads_are_ranked_without_training(dense, pairs, tmp_path, method, capsys):
    output = tmp_path / "ranked.pt"
    flags = ["--data", str(pairs), "--method", method, "--num-of-heads", "3", "--cpu"]
    rank_heads.main([str(dense), *flags, "--output", str(output)])
    assert f"next         dsp-predict {output} --data {pairs}\n" in capsys.readouterr().out
    kept = read_head_map(output)
    assert (kept.frozen, int(kept.mask.sum())) == (True, BUDGET)
    before, after = (torch.load(p, weights_only=True)["model"] for p in (dense, output))
    head = [name for name in before if name.startswith("classification_heads.")]
    assert len(head) == 4 and all(torch.equal(before[name], after[name]) for name in head)
    assert _logits(output, pairs).shape == (12, 3)


@pytest.mark.parametrize("method", sorted({*RANKINGS} - {LEARNED}))
def test_a_dense_model_is_pruned_and_repaired(dense, pairs, tmp_path, method, capsys):
    flags = ["--data", str(pairs), "--method", method, "--num-of-heads", "3", "--cpu"]
    flags += ["--keep-at-least", "site=1", "--max-tokens", "200", "--repair-batches", "2"]
    repaired, bare = tmp_path / "repaired.pt", tmp_path / "bare.pt"
    prune.main([str(dense), *flags, "--output", str(repaired)])
    found = re.search(r"relative squared error (\S+) -> (\S+) \(mean\)", capsys.readouterr().out)
    assert found is not None and float(found[1]) > float(found[2])
    prune.main([str(dense), *flags[:-2], "--no-repair", "--output", str(bare)])
    one, other = (read_head_map(path) for path in (repaired, bare))
    assert one.kept == other.kept and all(one.kept.values()) and one.budget == BUDGET
    expected, near, far = (_logits(path, pairs) for path in (dense, repaired, bare))
    assert (near - expected).norm() < (far - expected).norm()


def test_one_training_for_several_budgets_within_limits(train, pairs, tmp_path, capsys):
    flags = ("--keep-at-least", "site=1", "--keep-at-most", "encoder.self.0=2")
    outcome = train(tmp_path / "many", "--num-of-heads", "2,5", *flags)
    assert outcome.status == 0, outcome.message or outcome.log
    last = tmp_path / "many/checkpoint_last.pt"
    before: set = set()
    for number in (2, 5):
        kept = read_head_map(last, str(number))
        first, second = kept.kept.values()
        assert len(first) + len(second) == number and 1 <= len(first) <= 2 and second
        assert before <= (before := set(kept.mask.nonzero().flatten().tolist()))
        output = tmp_path / f"{number}.pt"
        export.main([str(last), "--num-of-heads", str(number), "--output", str(output)])
        assert read_head_map(output).budget == number
        tables = []
        for arguments in ([str(output)], [str(last), "--num-of-heads", str(number)]):
            predict.main([*arguments, "--data", str(pairs), "--cpu"])
            tables.append(capsys.readouterr().out.partition("accuracy")[2])
        assert tables[0] and tables[0] == tables[1]


@pytest.mark.parametrize("form", [None, "pruned"])
def test_the_hub_interface_loads_checkpoints_and_exports(trained, pairs, tmp_path, form):
    path = trained
    if form:
        path = tmp_path / f"{form}.pt"
        export.main([str(trained), "--format", form, "--output", str(path)])
    hub = DspRobertaModel.from_pretrained(
        str(path.parent), path.name, str(pairs), bpe=None, user_dir=str(USER_DIR)
    )
    hub.eval()
    dataset = hub.task.load_dataset("test")
    tokens = dataset.collater([dataset[i] for i in range(len(dataset))])["net_input"]["src_tokens"]
    head = hub.task.cfg.classification_head_name
    found = hub.predict(head, tokens)
    torch.testing.assert_close(found, _logits(trained, pairs).log_softmax(-1), atol=1e-5, rtol=0)
    one = dataset[0]["net_input.src_tokens"]
    torch.testing.assert_close(hub.predict(head, one)[0], found[0], atol=1e-5, rtol=0)


def test_fine_tuning_a_dense_model_and_an_export(train, trained, dense, tmp_path):
    pruned = tmp_path / "pruned.pt"
    export.main([str(trained), "--output", str(pruned)])
    flags = [("--finetune-from-model", dense), ("--pruning-mode", "pipelined")]
    start = [part for pair in flags for part in pair]
    assert train(tmp_path / "pipelined", *start).status == 0
    assert read_head_map(tmp_path / "pipelined/checkpoint_last.pt").budget == BUDGET
    outcome = train(
        tmp_path / "further", "--kept-heads", pruned, "--finetune-from-model", pruned,
        "--num-of-heads", str(BUDGET), "--max-update", "1",
    )  # fmt: skip
    assert outcome.status == 0, outcome.message or outcome.log


def test_fairseq_validate_counts_as_training_does(run, trained, pairs):
    state = torch.load(trained, weights_only=True)
    stored = state["extra_state"]["val_loss"]  # the metric of --best-checkpoint-metric
    outcome = run(
        *("validate", pairs, "--user-dir", USER_DIR, "--path", trained, "--cpu"),
        *("--task", "dsp_sentence_prediction", "--criterion", "dsp_sentence_prediction"),
        *("--num-classes", "3", "--batch-size", "5"),
    )
    assert outcome.status == 0, outcome.message or outcome.log
    said = re.search(r"accuracy ([\d.]+)", outcome.out + outcome.log)
    assert said is not None and float(said[1]) == pytest.approx(stored, abs=1e-3)


def test_the_same_classes_in_another_order_are_refused_everywhere(train, dense, trained, tmp_path):
    other = write_pairs(tmp_path / "data", labels=LABELS[::-1])
    said = "the model has the classes entailment, neutral, contradiction, and"
    ways = (
        ("--finetune-from-model", dense),
        ("--finetune-from-model", dense, "--pruning-mode", "pipelined"),
        ("--restore-file", trained),
        ("--distill-from", dense),
    )
    for number, flags in enumerate(ways):
        outcome = train(tmp_path / str(number), *flags, data=other)
        assert outcome.status != 0 and said in outcome.message, flags
    flags = ["--data", str(other), "--num-of-heads", "3", "--cpu", "--method", "fisher"]
    for command in (rank_heads, prune):
        with pytest.raises(CommandExit, match=said):
            command.main([str(dense), *flags, "--output", str(tmp_path / "out.pt")])
    outcome = train(tmp_path / "b", "--num-of-heads", "8", "--max-update", "2", data=other)
    assert outcome.status == 0, outcome.message
    members = [str(dense), str(tmp_path / "b/checkpoint_last.pt")]
    with pytest.raises(CommandExit, match="labels is"):
        average.main([*members, "--output", str(tmp_path / "out.pt")])
    assert not (tmp_path / "out.pt").exists()


def test_a_classifier_learns_from_a_teacher(train, dense, trained, tmp_path):
    """The same training without a teacher's share is the same, bit for bit."""
    alone, taught = tmp_path / "alone", tmp_path / "taught"
    for folder, weight in ((alone, "0"), (taught, "1")):
        outcome = train(folder, "--distill-from", dense, "--distill-weight", weight)
        assert outcome.status == 0, outcome.message or outcome.log
        assert re.search(r"\bdistill=?\s?[\d.]+", outcome.log)
    models = [
        torch.load(path / "checkpoint_last.pt", weights_only=True)["model"]
        for path in (trained.parent, alone, taught)
    ]
    name = "classification_heads.sentence_classification_head.out_proj.weight"
    assert torch.equal(models[0][name], models[1][name])
    assert not torch.equal(models[0][name], models[2][name])
    assert models[0].keys() == models[2].keys()
