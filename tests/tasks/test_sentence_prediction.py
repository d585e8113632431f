"""Classification of sentences: batches, checks of the data, exact accuracy, the gate penalty."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.criterions.sentence_prediction import SentencePredictionCriterion
from fairseq.data import SortDataset
from fairseq.logging import metrics
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from tiny_data import LABELS, WORDS, write_pairs, write_split

from dsp_fairseq.errors import CommandExit, PruningError
from dsp_fairseq.tasks.sentence_prediction import (
    DspSentencePredictionCriterion,
    DspSentencePredictionTask,
)


def _config(folder, **flags):
    config = SentencePredictionConfig(data=str(folder), num_classes=3, init_token=0)
    defaults = {"regression_target": False, "classification_head_name": "head", "seed": 1}
    for name, value in {**defaults, **flags}.items():
        setattr(config, name, value)
    return config


def _task(folder, **flags):
    return DspSentencePredictionTask.setup_task(_config(folder, **flags))


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "data")


# ---- data


def test_the_inputs_and_targets_are_those_of_fairseqs_task(data):
    ours = _task(data).load_dataset("valid")
    theirs = SentencePredictionTask.setup_task(_config(data)).load_dataset("valid")
    for i in range(len(theirs)):
        a, b = ours[i], theirs[i]
        assert a["net_input.src_tokens"].tolist() == b["net_input.src_tokens"].tolist()
        assert a["target"].tolist() == b["target"].tolist() == [i % 3]


def test_batches_hold_like_lengths(data):
    dataset = _task(data).load_dataset("train")
    lengths = np.array(dataset.sizes[0])[dataset.ordered_indices()]
    assert len(set(lengths)) > 3 and (np.diff(lengths) >= 0).all()
    for length in set(lengths):
        same = dataset.ordered_indices()[lengths == length]
        assert len(same) < 4 or (np.diff(same) < 0).any(), "what has one length is shuffled"


def test_no_input_is_left_out(data):
    task = _task(data)
    batches = task.get_batch_iterator(
        task.load_dataset("valid"), max_sentences=8, required_batch_size_multiple=8
    ).next_epoch_itr(shuffle=False)
    assert sorted(i for batch in batches for i in batch["id"].tolist()) == list(range(12))


def test_no_shuffle_keeps_the_order_of_the_data(data):
    dataset = _task(data, no_shuffle=True).load_dataset("train")
    assert not isinstance(dataset, SortDataset)
    assert dataset.ordered_indices().tolist() == list(range(48))


def test_single_sentences(tmp_path):
    task = _task(write_pairs(tmp_path / "data", pairs=False))
    sample = task.load_dataset("valid")[0]
    assert sample["net_input.src_tokens"].tolist().count(2) == 1
    assert sample["target"].tolist() == [0]


def test_labels_are_those_of_the_dictionary_without_what_fills_it_up(data):
    with (data / "label/dict.txt").open("a") as file:
        file.write("madeupword0000 0\n")
    assert _task(data).labels == list(LABELS)


def _refusal(make) -> str:
    with pytest.raises(CommandExit) as stop:
        make()
    assert "\n" not in str(stop.value)
    return str(stop.value)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"regression_target": True}, "--regression-target is not supported"),
        ({"num_classes": -1}, "give the number of classes: --num-classes N"),
        ({"num_classes": 2}, r"has 3 labels (entailment, neutral, contradiction)"),
        ({"data": "nowhere"}, "nowhere has no dictionary input0/dict.txt"),
    ],
)
def test_what_a_task_cannot_be(data, flags, said):
    assert said in _refusal(lambda: _task(data, **flags))


def test_data_without_labels(data):
    (data / "label/dict.txt").unlink()
    assert "has no dictionary label/dict.txt" in _refusal(lambda: _task(data))


def test_second_sentences_that_are_missing(data):
    for path in (data / "input1").glob("test.*"):
        path.unlink()
    assert "has no test split (input1/test.*)" in _refusal(lambda: _task(data).load_dataset("test"))


def test_second_sentences_with_a_dictionary_of_their_own(data):
    path = data / "input1/dict.txt"
    path.write_text("".join(f"{word} 1\n" for word in WORDS[::-1]))
    assert "has other symbols than" in _refusal(lambda: _task(data))


def test_a_split_that_is_missing(data):
    assert "has no dev split" in _refusal(lambda: _task(data).load_dataset("dev"))


@pytest.mark.parametrize("part", ["input1", "label"])
def test_a_file_with_fewer_lines(data, part):
    write_split(data / part / "valid", [[4]] * 11)
    said = _refusal(lambda: _task(data).load_dataset("valid"))
    assert "not of the same number" in said


@pytest.mark.parametrize("line", [[3], [], [4, 5]], ids=["unknown", "empty", "two words"])
def test_a_label_that_is_none_of_the_classes(data, line):
    write_split(data / "label/valid", [[4]] * 11 + [line])
    said = _refusal(lambda: _task(data).load_dataset("valid"))
    assert "1 of 12 labels of the valid split" in said


def test_an_input_that_is_too_long(data):
    task = _task(data, max_positions=10)
    said = _refusal(lambda: task.load_dataset("train"))
    assert "longer than --max-positions 10, up to 15 tokens" in said
    assert "--shorten-method truncate" in said
    task = _task(data, max_positions=10, shorten_method="truncate")
    assert max(task.load_dataset("train").sizes[0]) == 10


def test_a_split_without_labels_has_no_loss(data):
    for path in (data / "label").glob("test.*"):
        path.unlink()
    task = _task(data)
    dataset = task.load_dataset("test")
    sample = dataset.collater([dataset[0]])
    criterion = DspSentencePredictionCriterion(_criterion_flags(), task)
    assert "this split has no labels" in _refusal(lambda: criterion(None, sample))


# ---- checkpoints


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"labels": LABELS[::-1]}, "the classes contradiction, neutral, entailment"),
        ({"words": WORDS[::-1]}, "another vocabulary"),
        ({"pairs": False}, "reads single sentences, and "),
    ],
)
def test_a_checkpoint_refuses_data_of_another_kind(data, tmp_path, other, said):
    stored = _task(write_pairs(tmp_path / "other", **other)).state_dict()
    task = _task(data)
    assert said in _refusal(lambda: task.load_state_dict(stored))
    task.load_state_dict(task.state_dict())
    task.load_state_dict({})  # of fairseq's own task


def test_a_model_of_pairs_refuses_single_sentences(data, tmp_path):
    stored = _task(data).state_dict()
    single = _task(write_pairs(tmp_path / "single", pairs=False))
    assert "reads pairs of sentences, and " in _refusal(lambda: single.load_state_dict(stored))


@pytest.mark.parametrize("flag", ["init_token", "separator_token"])
def test_data_that_is_read_in_another_way_is_refused(data, flag):
    stored = _task(data).state_dict()
    task = _task(data, **{flag: 2})
    said = f"trained with --{flag.replace('_', '-')} {stored[flag]}, here it is 2"
    assert said in _refusal(lambda: task.load_state_dict(stored))


def test_a_start_may_have_other_classes_but_not_the_same_in_another_order(data, caplog):
    task = _task(data)
    own = task.state_dict()
    with pytest.raises(PruningError, match="in this order"):
        task.refuse_other_start({**own, "labels": list(LABELS[::-1])}, new_task=True)
    other = {**own, "labels": ["a", "b", "c"], "sentences": 1, "init_token": None}
    with pytest.raises(PruningError, match="has the classes a, b, c"):
        task.refuse_other_start(other, new_task=False)
    task.refuse_other_start(other, new_task=True)
    assert "the head of the classes a, b, c goes on as that of entailment" in caplog.text
    assert "was trained with --init-token None, here it is 0: give the same, unless" in caplog.text
    with pytest.raises(PruningError, match="another vocabulary"):
        task.refuse_other_start({**other, "vocabulary": ""}, new_task=True)
    imported = {"vocabulary": own["vocabulary"]}
    task.refuse_other_start(imported, new_task=True)


# ---- the criterion


def _criterion_flags():
    return SimpleNamespace(
        classification_head_name="head",
        regression_target=False,
        report_mcc=False,
        report_acc_and_f1=False,
        report_pearson_and_spearman=False,
    )


class _Model(torch.nn.Module):
    """Says class 0 of everything."""

    distillation = None

    def __init__(self, penalty=None):
        super().__init__()
        self.classification_heads = {"head": None}
        self.head_gates = SimpleNamespace(penalty=lambda: penalty, statistics=dict)
        self.watch = SimpleNamespace(note=lambda sample, loss: None)

    def forward(self, src_tokens, **kwargs):
        return torch.eye(3)[torch.zeros(len(src_tokens), dtype=torch.long)], {}

    def get_targets(self, sample, output):
        return sample["target"]


def _sample(classes):
    tokens = torch.full((len(classes), 5), 4)
    target = torch.tensor(classes).unsqueeze(1)
    return {"net_input": {"src_tokens": tokens}, "target": target, "ntokens": tokens.numel()}


def test_accuracy_is_counted_exactly(data):
    criterion = DspSentencePredictionCriterion(_criterion_flags(), _task(data))
    model = _Model().eval()
    with metrics.aggregate() as values:
        for classes in ([0, 1, 2], [0, 0, 0, 1]):
            criterion.reduce_metrics([criterion(model, _sample(classes))[2]])
    assert values.get_smoothed_values()["accuracy"] == round(400 / 7, 6)


def test_accuracies_of_neighbouring_counts_differ(data):
    found = []
    for correct in (6000, 6001):
        log = {"ncorrect": correct, "nsentences": 10_000, "sample_size": 10_000, "ntokens": 1}
        with metrics.aggregate() as values:
            DspSentencePredictionCriterion.reduce_metrics([log])
        found.append(values.get_smoothed_values()["accuracy"])
    assert found == [60.0, 60.01]


def test_the_penalty_of_the_gates_counts_per_sentence(data):
    task = _task(data)
    criterion = DspSentencePredictionCriterion(_criterion_flags(), task)
    stock = SentencePredictionCriterion(_criterion_flags(), task)
    model, sample = _Model(torch.tensor(0.5)), _sample([0, 1, 2, 2])
    for training, penalty in ((True, 0.5 * 4), (False, 0.0)):
        model.train(training)
        loss, size, _ = criterion(model, sample)
        assert size == 4
        assert (loss - stock(model, sample)[0]).item() == pytest.approx(penalty, abs=1e-6)


def test_the_criterion_is_of_its_task():
    make = lambda: DspSentencePredictionCriterion(_criterion_flags(), SimpleNamespace())  # noqa: E731
    assert "is for --task dsp_sentence_prediction" in _refusal(make)


@pytest.mark.parametrize("name", ["report_mcc", "report_acc_and_f1"])
def test_metrics_of_numbers_are_refused(data, name):
    flags = _criterion_flags()
    setattr(flags, name, True)
    said = _refusal(lambda: DspSentencePredictionCriterion(flags, _task(data)))
    assert f"--{name.replace('_', '-')} is not supported" in said
