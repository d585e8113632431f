"""What has to hold before a run starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_NAME_REGISTRY,
    ARCH_MODEL_REGISTRY,
)
from tiny_data import write_data

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.checks import (
    check_data,
    check_dense,
    check_evaluation,
    check_flags,
    check_folder,
    check_machine,
    check_names,
    check_run,
    check_start,
    prepare_data,
)
from dsp_fairseq.experiments.execute import describe
from dsp_fairseq.experiments.record import RUN_FILE
from dsp_fairseq.experiments.run import Run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "give --num-of-heads K"),
        ({"num-of-heads": 4, "cost-budget": 3}, "are two budgets: give one of them"),
        ({"cost-budget": 3}, "--cost-budget needs the prices of heads"),
        ({"num-of-heads": 49}, "--num-of-heads 49 is not a whole number from 0 to 48"),
        ({"num-of-heads": 4, "max-updates": 3}, "unrecognized arguments: --max-updates 3"),
        ({"num-of-heads": 4, "max-update": "x"}, "argument --max-update: invalid int value"),
        ({"num-of-heads": 4, "arch": "no"}, "invalid choice"),
        ({"num-of-heads": 4, "no-last-checkpoints": True}, "no checkpoint is left"),
        ({"num-of-heads": 4, "no_save": True}, "with --no-save no checkpoint is left"),
        ({"num-of-heads": 4, "checkpoint-suffix": "x"}, "is set by dsp-run"),
    ],
)
def test_wrong_flags_are_found_without_training(recipe, flags, message):
    with pytest.raises(PruningError, match=message):
        check_flags(recipe().with_train(flags), Path("x"))


def test_a_family_of_another_name_is_checked_too(recipe, monkeypatch, tmp_path):
    for registry in (ARCH_MODEL_REGISTRY, ARCH_MODEL_NAME_REGISTRY, ARCH_CONFIG_REGISTRY):
        monkeypatch.setitem(registry, "own_tiny", registry["dsp_transformer_tiny"])
    own = recipe().with_train({"arch": "own_tiny", "num-of-heads": 49})
    with pytest.raises(PruningError, match="--num-of-heads 49 is not a whole number from 0 to"):
        check_flags(own, tmp_path)
    with pytest.raises(PruningError, match="does not keep all heads"):
        check_dense(Run(own.with_train({"num-of-heads": 3}), tmp_path))


def test_missing_data_and_start_name_the_commands_that_make_them(recipe, tmp_path):
    made = recipe(prepare="bash make-data.sh", start="none.pt", **{"make-start": "dsp-run dense"})
    with pytest.raises(
        PruningError, match=r"no data folder data/x: make it with: bash make-data.sh"
    ):
        check_data(Run(made, tmp_path))
    with pytest.raises(
        PruningError, match=r"no checkpoint none.pt .*: make it with: dsp-run dense"
    ):
        check_start(Run(made, tmp_path))
    taught = recipe(**{"make-start": "dsp-run dense"}).with_train({"distill-from": "gone.pt"})
    with pytest.raises(
        PruningError, match=r"no checkpoint gone.pt to learn from: make it with: dsp-run dense"
    ):
        check_start(Run(taught, tmp_path))


def test_a_flag_that_is_false_is_not_given(recipe, tmp_path):
    flags = {"no-save": False, "no-last-checkpoints": False, "restore-file": False}
    made = recipe(generate={"quiet": False}).with_train({"num-of-heads": 4, **flags})
    check_flags(made, tmp_path)


def test_a_finished_run_needs_neither_its_data_nor_its_start(recipe, tmp_path):
    made = recipe(start=str(tmp_path / "dense/checkpoint_best.pt"), **{"make-start": "dsp-run d"})
    run = Run(made.with_train({"num-of-heads": 6}), tmp_path / "run")
    with pytest.raises(PruningError, match="no data folder"):
        check_run(run)
    run.folder.mkdir()
    (run.folder / "result.json").write_text("{}")
    stored = {"format_version": 1, "recipe": run.recipe.settings(), "data_sha256": "ab"}
    (run.folder / RUN_FILE).write_text(yaml.safe_dump(stored))
    check_run(run)
    with pytest.raises(PruningError, match="holds a run with other settings"):
        check_run(Run(run.recipe.with_train({"lr": 3}), run.folder))


def test_a_finished_run_needs_its_package_only_for_what_that_evaluates(recipe, tmp_path):
    made = recipe(**{"user-dir": str(tmp_path / "gone")}).with_train({"num-of-heads": 6})
    run = Run(made, tmp_path / "run")
    run.folder.mkdir()
    with pytest.raises(PruningError, match="gone is not the folder of a Python package"):
        check_run(run)
    (run.folder / "result.json").write_text("{}")
    check_run(run)
    with pytest.raises(PruningError, match="gone is not the folder of a Python package"):
        check_run(Run(made.with_train({"task": "own"}), run.folder))


def test_a_start_that_a_finished_run_made_and_lost_is_not_made_by_its_command(recipe, tmp_path):
    made = recipe(start=str(tmp_path / "dense/checkpoint_best.pt"), **{"make-start": "dsp-run d"})
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense/result.json").write_text("{}")
    with pytest.raises(PruningError, match=r"its run is finished: put it back, or remove \S+dense"):
        check_start(Run(made, tmp_path / "run"))


def test_a_folder_that_fairseq_takes_for_two_files_is_refused_before_training(recipe, tmp_path):
    check_names(Run(recipe(), tmp_path / "a b'[c]"))
    with pytest.raises(PruningError, match=r"fairseq cannot read checkpoints from .*a:b"):
        check_names(Run(recipe(), tmp_path / "a:b"))


def test_commands_that_are_not_installed_are_named_before_anything_is_made(
    recipe, tmp_path, monkeypatch
):
    run = Run(recipe(), tmp_path / "run")
    check_machine(run)
    # As where pip was given a --target that is not on the PATH.
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PruningError, match=r"there is no fairseq-\w+ beside .*: add the folder"):
        check_machine(run)


def test_missing_data_is_made_once_by_the_recipes_own_command(recipe, tmp_path, capfd):
    data, maker = tmp_path / "made", tmp_path / "make.sh"
    maker.write_text(f'echo "given $*"; mkdir {data}\n')
    made = recipe(data=str(data), prepare=f"bash {maker} --lowercase")
    for _ in range(2):
        prepare_data(made, "raw")
    assert capfd.readouterr().out.count("given --lowercase --from raw") == 1
    assert data.is_dir()


def test_data_that_cannot_be_made_is_an_error(recipe):
    with pytest.raises(PruningError, match="no data in data/x: that command ended with 3"):
        prepare_data(recipe(prepare="bash -c 'exit 3'"), "")
    with pytest.raises(PruningError, match="does not say how data/x is made"):
        prepare_data(recipe(), "")


@pytest.mark.parametrize(
    ("key", "past"), [("start", "started"), ("distill-from", "learned")], ids=str
)
def test_another_start_or_teacher_is_noticed_after_training_began(recipe, tmp_path, key, past):
    start, folder = tmp_path / "start.pt", tmp_path / "run"
    torch.save({"cfg": {"model": {"_name": "transformer"}}, "model": {}}, start)
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.de-en.de.bin").write_bytes(b"abc")
    (data / "dict.de.txt").write_text("a 1\n")
    (data / "prep.json").write_text("{}")
    folder.mkdir()
    made = recipe(data=str(data), **{"start": str(start) if key == "start" else None})
    flags = {"num-of-heads": 6} | ({"distill-from": str(start)} if key != "start" else {})
    run = Run(made.with_train(flags), folder)
    (folder / RUN_FILE).write_text(yaml.safe_dump(describe(run)))
    (folder / "checkpoint_last.pt").touch()
    check_folder(run)
    start.write_bytes(b"two")
    with pytest.raises(PruningError, match=rf"not the checkpoint that .*run {past} from"):
        check_folder(run)
    start.unlink()
    check_folder(run)


@pytest.mark.parametrize(
    ("train", "content", "message"),
    [
        ({"task": "translation_multi_simple_epoch"}, {}, "can only evaluate translation"),
        ({"task": "multilingual_translation"}, {}, "can only evaluate translation"),
        ({"left-pad-source": False}, {}, "'left-pad-source: false' leaves the flag out"),
        (
            {},
            {"generate": {"left-pad-source": True}},
            "has --left-pad-source True, and 'train' has",
        ),
        (
            {"max-source-positions": 30},
            {"generate": {"max-source-positions": 20}},
            "and 'train' 30",
        ),
    ],
)
def test_flags_that_evaluation_cannot_follow_are_refused(recipe, train, content, message):
    made = recipe(**content).with_train({"num-of-heads": 6, **train})
    with pytest.raises(PruningError, match=message):
        check_flags(made, Path("x"))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({}, None),
        ({"source-lang": "en", "target-lang": "de"}, None),
        ({"max-target-positions": 5}, "target sentence of 6 tokens"),
        ({"source-lang": "de", "target-lang": "fr"}, "no dictionary of 'fr'"),
        ({"source-lang": "fr", "target-lang": "de"}, "no dictionary of 'fr'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_training(recipe, tmp_path, train, message):
    made = recipe(data=str(write_data(tmp_path / "data"))).with_train(train)
    if message is None:
        check_evaluation(made)
    else:
        with pytest.raises(PruningError, match=message):
            check_evaluation(made)


@pytest.mark.parametrize("flag", ["remove-bpe", "post_process"])
def test_subwords_of_another_kind_are_refused_before_training(recipe, tmp_path, flag):
    made = recipe(data=str(write_data(tmp_path / "data")))
    for value in (True, "subword_nmt", None):
        check_evaluation(made.with_generate({flag: value}))
    for value in ("sentencepiece", "letter"):
        with pytest.raises(PruningError, match=rf"{value}, and the subwords of .* are bpe: write"):
            check_evaluation(made.with_generate({flag: value}))


def test_references_of_the_models_target_language_are_needed(recipe, tmp_path):
    data = write_data(tmp_path / "data")
    reversed_pair = {"source-lang": "en", "target-lang": "de"}
    (data / "raw/test.src").unlink()
    check_evaluation(recipe(data=str(data)))
    with pytest.raises(PruningError, match="no plain text of its test split in de"):
        check_evaluation(recipe(data=str(data)).with_train(reversed_pair))
    write_data(data, "fr-es", plain=False)
    other_pair = {"source-lang": "fr", "target-lang": "es"}
    with pytest.raises(PruningError, match=r"in es, .* it was prepared for en and de"):
        check_evaluation(recipe(data=str(data)).with_train(other_pair))
    (data / "prep.json").write_text("[]")
    with pytest.raises(
        PruningError, match=r"not a folder that data-prep/ made .*prepare the data again"
    ):
        check_evaluation(recipe(data=str(data)))


@pytest.mark.parametrize(("epochs", "freeze", "warned"), [(3, 9, True), (10, 9, False)])
def test_too_few_epochs_are_warned_of_at_the_start(
    recipe, tmp_path, caplog, epochs, freeze, warned
):
    data = write_data(tmp_path / "data")
    flags = {"max-update": None, "max-epoch": epochs, "batch-size": 1, "num-of-heads": 6}
    flags["required-batch-size-multiple"] = 1
    made = recipe(data=str(data)).with_train({**flags, "cooldown-steps": freeze})
    check_flags(made, tmp_path)
    # Two sentences, one a batch.
    assert (
        f"about {2 * epochs} updates, and the heads are frozen after 9" in caplog.text
    ) == warned
