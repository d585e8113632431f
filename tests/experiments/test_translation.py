"""How translation models are evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairseq import options

from dsp_fairseq.errors import PruningError
from dsp_fairseq.experiments.commands import train_flags
from dsp_fairseq.experiments.evaluation import EVALUATIONS
from dsp_fairseq.experiments.flags import arguments_of

TRANSLATION = EVALUATIONS["translation"]


def _command(recipe, split):
    return TRANSLATION.command(recipe, Path("best.pt"), split, True, None, Path("out"))


def test_commands_name_all_that_matters(recipe):
    generate = _command(recipe(generate={"beam": 3}), "valid")
    for flag, value in (
        *(("--required-batch-size-multiple", "1"), ("--gen-subset", "valid")),
        *(("--beam", "3"), ("--path", "best.pt")),
    ):
        assert generate[generate.index(flag) + 1] == value
    assert "--user-dir" in generate and "--cpu" in generate


@pytest.mark.parametrize("flag", ["score-reference", "prefix_size"])
def test_references_are_not_scored_as_translations(recipe, flag):
    with pytest.raises(PruningError, match="with which fairseq gives out the references"):
        TRANSLATION.check_flags(recipe(generate={flag: "9"}))


def test_no_batch_is_left_out(recipe):
    TRANSLATION.check_flags(recipe(generate={"required-batch-size-multiple": 1}))
    with pytest.raises(PruningError, match="multiple 8, with which fairseq leaves out the last"):
        TRANSLATION.check_flags(recipe(generate={"required-batch-size-multiple": 8}))


@pytest.mark.parametrize("flag", ["path", "gen_subset", "--results-path", "quiet", "user-dir"])
def test_what_dsp_run_says_of_generation_is_said_nowhere_else(recipe, flag):
    name = flag.strip("-").replace("_", "-")
    with pytest.raises(PruningError, match=f"'generate' has --{name}, which dsp-run sets or needs"):
        TRANSLATION.check_flags(recipe(generate={"beam": 3, flag: "x"}))


def test_the_speed_of_generation_comes_from_its_log(tmp_path):
    (tmp_path / "test.log").write_text(
        "Translated 1,000 sentences (13,031 tokens) in 5.2s (192.12 sentences/s, 2505.96 tokens/s)"
    )
    assert TRANSLATION.speed(tmp_path, "test") == {
        "generate_seconds": 5.2,
        "tokens_per_second": 2505.96,
    }


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"source-lang": "en", "target-lang": "no"}, ["--source-lang en", "--target-lang no"]),
        ({"left-pad-source": True}, ["--left-pad-source"]),
        ({"max-source-positions": 2000}, ["--max-source-positions 2000"]),
        ({"truncate-source": True}, ["--truncate-source"]),
        ({"dataset-impl": "raw"}, ["--dataset-impl raw"]),
    ],
)
def test_generation_reads_the_data_as_training_does(recipe, train, words):
    command = _command(recipe().with_train(train), "test")
    plain = _command(recipe(), "test")
    given = " ".join(command)
    assert all(f" {flag}" in given for flag in words)
    assert len(command) == len(plain) + sum(len(flag.split()) for flag in words)
    # As the real commands parse them.
    parsed = options.parse_args_and_arch(options.get_generation_parser(), command[1:])
    flags = train_flags(recipe().with_train(train), Path("x"))
    trained = options.parse_args_and_arch(options.get_training_parser(), ["", *arguments_of(flags)])
    for flag in train:
        name = flag.replace("-", "_")
        assert getattr(parsed, name) == getattr(trained, name), name
