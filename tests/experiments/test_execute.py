from types import SimpleNamespace

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments import execute as module
from dsp_fairseq.experiments.execute import environment_of, has_trained
from dsp_fairseq.experiments.logs import LOG_FILE
from dsp_fairseq.experiments.run import Run
from dsp_fairseq.files import LAST


def test_processes_get_their_threads_and_their_gpu(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert environment_of(Run(recipe(), tmp_path, threads=3))["OMP_NUM_THREADS"] == "3"
    assert environment_of(Run(recipe(), tmp_path, gpu=1))["CUDA_VISIBLE_DEVICES"] == "7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert environment_of(Run(recipe(), tmp_path, gpu=1))["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(Run(recipe(), tmp_path))


@pytest.mark.parametrize(
    ("updates", "log", "ended"),
    [
        (9, "", False),
        (10, "", True),
        (3, "INFO | fairseq_cli.train | done training in 2 seconds", True),
    ],
)
def test_a_training_has_ended_by_its_updates_or_by_its_log(
    recipe, tmp_path, monkeypatch, updates, log, ended
):
    run = Run(recipe().with_train({"max-update": "10"}), tmp_path)
    assert not has_trained(run)
    (tmp_path / LAST).write_text("")
    (tmp_path / LOG_FILE).write_text(log)
    monkeypatch.setattr(module, "peek", lambda _: SimpleNamespace(updates=updates))
    assert has_trained(run) is ended


def test_a_command_that_fails_is_named_with_its_last_words(recipe, tmp_path):
    log = tmp_path / "log"
    command = ["bash", "-c", "echo first; echo the reason >&2; exit 3"]
    with pytest.raises(PruningError, match=r"status 3 \(the reason\); log: "):
        module._step(Run(recipe(), tmp_path), command, log, log, 0)
