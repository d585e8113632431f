import struct
from argparse import Namespace

import pytest
import torch
from fairseq.data import LanguagePairDataset
from fairseq.tasks import FairseqTask, LegacyFairseqTask

from dsp_fairseq.data.batches import load_split, sample_batches, split_batches
from dsp_fairseq.errors import PruningError

ALL = [*range(6)]


@pytest.fixture
def loaded(task):
    """A task whose split has sentences of 1 to 6 tokens."""
    sentences = [torch.randint(4, 20, (n,)) for n in range(1, 7)]
    lengths = [len(sentence) for sentence in sentences]
    words = task.source_dictionary
    made = FairseqTask(Namespace(data="data"))
    made.datasets["valid"] = LanguagePairDataset(
        sentences, lengths, words, sentences, lengths, words
    )
    return made


def _ids(task, *models, **options):
    batches = split_batches(task, models, "valid", **{"max_tokens": 6, **options})
    return [sorted(batch["id"].tolist()) for batch in batches]


def test_every_sentence_is_in_one_batch_and_the_seed_alone_orders_them(loaded):
    batches = _ids(loaded)
    assert sorted(i for ids in batches for i in ids) == ALL
    orders = [_ids(loaded, shuffle=True, seed=seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    for seed in (-2, 2**32 - 1, 2**32):
        assert sorted(i for ids in _ids(loaded, shuffle=True, seed=seed) for i in ids) == ALL


def test_sentences_too_long_for_a_model_are_left_out(loaded):
    model = Namespace(max_positions=lambda: (3, 3))
    assert sorted(i for ids in _ids(loaded, model) for i in ids) == [0, 1, 2]


def test_what_cannot_be_read_is_said_in_one_line(loaded, monkeypatch):
    with pytest.raises(PruningError, match="--max-tokens 3 is too small"):
        _ids(loaded, max_tokens=3)

    for error in (FileNotFoundError("none"), AssertionError("no index"), struct.error("short")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(loaded, "load_dataset", fail)
        with pytest.raises(PruningError, match=f"has no dev split that fairseq can read: {error}"):
            load_split(loaded, "dev")


def test_a_sample_is_some_batches_of_the_split_by_the_seed(loaded, build):
    model = build()

    def sample(number, seed=1):
        batches, count = sample_batches(loaded, model, "valid", 6, number, seed)
        found = [sorted(batch["id"].tolist()) for batch in batches]
        assert len(found) == count
        return found

    whole = sample(None)
    assert sorted(i for ids in whole for i in ids) == ALL
    assert sample(2) == whole[:2]
    assert sample(99) == whole
    assert sample(None, seed=2) != whole

    model.max_positions = lambda: (0, 0)
    with pytest.raises(PruningError, match="the valid split of data holds no sentence that the"):
        sample(2)


def test_tasks_without_a_configuration_are_read_and_refused_as_well(loaded):
    """fairseq's older tasks, such as translation_multi_simple_epoch, have arguments alone."""
    old = LegacyFairseqTask(Namespace(data="old-data"))
    old.load_dataset = lambda split, **_: old.datasets.update({split: loaded.datasets["valid"]})
    load_split(old, "dev")
    assert len(old.datasets["dev"]) == len(ALL)

    def fail(*_, **__):
        raise FileNotFoundError("none")

    old.load_dataset = fail
    with pytest.raises(PruningError, match="old-data has no dev split that fairseq can read"):
        load_split(old, "dev")
    none_fits = Namespace(max_positions=lambda: (0, 0), parameters=lambda: iter(()))
    with pytest.raises(PruningError, match="dev split of old-data holds no sentence"):
        sample_batches(old, none_fits, "dev", max_tokens=6, number=1, seed=1)
