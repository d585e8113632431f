"""How many updates a training by epochs makes, and what is said at its end."""

from __future__ import annotations

import logging
from argparse import Namespace

import pytest
from tiny_data import write_data

from dsp_fairseq.pruning.ending import at_the_end, updates_by_epochs


def _args(folder, **flags):
    given = {"task": "translation", "data": str(folder), "train_subset": "train", "batch_size": 1}
    return Namespace(**{**given, "max_epoch": 3, **flags})


@pytest.mark.parametrize(
    ("flags", "updates"),
    [
        ({}, 12),
        ({"update_freq": [2]}, 6),
        ({"update_freq": [1, 2, 4]}, 4 + 2 + 1),
        ({"update_freq": [1, 3]}, 4 + 2 + 2),
        ({"distributed_world_size": 2}, 6),
        ({"batch_size": None, "max_tokens": 20}, 6),
        ({"max_epoch": 0}, None),
        ({"max_epoch": 10**9, "update_freq": [1, 2]}, 4 + (10**9 - 1) * 2),
        ({"max_epoch": 1, "update_freq": [1, 2]}, 4),
        ({"task": "sentence_prediction"}, None),
        ({"data": None}, None),
        ({"data": "one:two"}, None),
    ],
)
def test_updates_are_counted_from_the_data(tmp_path, flags, updates):
    write_data(tmp_path, splits={"train": (5, 2, 3, 6)})
    assert updates_by_epochs(_args(tmp_path, **flags)) == updates


def test_parts_of_a_split_are_trained_on_together(tmp_path):
    write_data(tmp_path, splits={"train": (5, 2, 3, 6), "train1": (4, 4)})
    assert updates_by_epochs(_args(tmp_path)) is None


def test_the_end_is_told_once_and_of_the_latest_training(build, caplog):
    training = logging.getLogger("fairseq_cli.train")
    broken_off, finished = build(6).head_gates, build(7).head_gates
    with caplog.at_level(logging.INFO):
        for gates in (broken_off, finished):
            at_the_end(gates.warn_unless_frozen)
        finished.num_updates = 3
        for _ in range(2):
            training.info("done training in 1.5 seconds")
    (said,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "ended after 4 updates, and its heads are frozen after 10" in said.getMessage()
    assert "keep the top 7 heads by" in said.getMessage()
