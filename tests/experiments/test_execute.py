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


def test_the_log_of_a_training_that_is_gone_tells_no_end(recipe, tmp_path, monkeypatch):
    """Checkpoints removed, trained anew and killed: what is left is not finished."""
    run = Run(recipe().with_train({"max-update": "10"}), tmp_path)
    log = tmp_path / LOG_FILE
    log.write_text("INFO | fairseq_cli.train | done training in 2 seconds\n")
    monkeypatch.setattr(module, "peek", lambda _: SimpleNamespace(updates=7))

    def killed(*_):
        log.open("a").write("updates, and a kill\n")
        (tmp_path / LAST).write_text("")
        raise PruningError("killed")

    monkeypatch.setattr(module, "_step", killed)
    monkeypatch.setattr(module, "mend_checkpoints", lambda _: None)
    with pytest.raises(PruningError, match="killed"):
        module._train(run, 0)
    assert log.read_text() == "updates, and a kill\n"
    assert not has_trained(run)


def test_a_copied_folder_of_several_budgets_has_files_for_links(recipe, tmp_path, monkeypatch):
    run = Run(recipe().with_train({"num-of-heads": "6,12"}), tmp_path)
    monkeypatch.setattr(module, "_evaluate_split", lambda *_: None)
    monkeypatch.setattr(module, "summarise", lambda *_: {})
    for name in (LOG_FILE, "run.yaml"):
        (tmp_path / name).write_text("")
        (tmp_path / "k6").mkdir(exist_ok=True)
        (tmp_path / "k6" / name).write_text("")
    target = next(target for target in module.targets_of(run) if target.folder.name == "k6")
    module._evaluate(run, target, 0)
    assert not (tmp_path / "k6" / LOG_FILE).is_symlink()


def test_the_log_of_a_ranking_is_kept(recipe, tmp_path, monkeypatch):
    run = Run(recipe(start="dense.pt", rank={"method": "michel"}), tmp_path)
    (tmp_path / "ranked.pt").write_text("")
    (tmp_path / LOG_FILE).write_text("how heads were ranked\n")
    monkeypatch.setattr(module, "_step", lambda *_: None)
    module._train(run, 0)
    assert (tmp_path / LOG_FILE).read_text() == "how heads were ranked\n"
