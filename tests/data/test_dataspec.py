"""How data is read: the same for training, generation and the tools."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from tiny_data import write_data

from dsp_fairseq.data.dataspec import (
    DataSpec,
    check_dictionaries,
    data_folders,
    refuse_other_dictionaries,
)
from dsp_fairseq.errors import PruningError


def _spec(text: str) -> DataSpec:
    return DataSpec.of_command(text.split())


@pytest.mark.parametrize(
    ("flags", "handed_on"),
    [
        ("--arch transformer --lr 1e-3 --max-tokens 100", {}),
        ("--source-lang en --target-lang de", {"source-lang": "en", "target-lang": "de"}),
        ("-s no -t en", {"source-lang": "no", "target-lang": "en"}),
        ("--left-pad-source --left-pad-target", {"left-pad-source": True, "left-pad-target": True}),
        ("--max-source-positions 30 --max-target-p 40 --truncate-source",
         {"max-source-positions": "30", "max-target-positions": "40", "truncate-source": True}),
        ("--max-source-positions 1024", {}),
        ("--dataset-impl raw --eval-bleu", {"dataset-impl": "raw"}),
    ],
)  # fmt: skip
def test_what_decides_how_data_is_read_is_handed_on(flags, handed_on):
    assert _spec(flags).arguments() == handed_on
    assert _spec(flags).is_translation


def test_a_checkpoint_tells_the_same():
    task = {"_name": "translation", "source_lang": "en", "target_lang": "de", "data": "elsewhere"}
    task |= {"left_pad_source": False, "max_source_positions": 30, "dataset_impl": None}
    spec = DataSpec.of(task)
    assert spec == _spec("-s en -t de --left-pad-source --max-source-positions 30")
    # Of 2019, and as fairseq-train has just parsed them.
    args = Namespace(task="translation", arch="transformer", **{k: task[k] for k in list(task)[1:]})
    assert DataSpec.of(vars(args)) == spec


def test_other_tasks_are_told_apart():
    assert not _spec("--task multilingual_translation").is_translation
    assert not DataSpec.of({"_name": "translation_multi_simple_epoch"}).is_translation


def test_the_direction_is_that_of_the_flags_or_of_the_files(tmp_path):
    write_data(tmp_path)
    assert _spec("").direction(tmp_path) == ("de", "en")
    assert _spec("-s en -t de").direction(tmp_path) == ("en", "de")
    assert _spec("-s de").direction(tmp_path) == ("de", "en")
    assert _spec("-s en -t de").check_split(tmp_path, "test") == tmp_path / "test.de-en"


@pytest.mark.parametrize("flags", ["-s en", "-t de"])
def test_one_language_that_fairseq_would_ignore_is_refused(tmp_path, flags):
    write_data(tmp_path)
    with pytest.raises(PruningError, match=r"belong together: .* fairseq would take de to en"):
        _spec(flags).direction(tmp_path)


def test_of_several_pairs_the_flags_choose(tmp_path):
    write_data(tmp_path, "de-en")
    write_data(tmp_path, "fr-en", {"test": (60,)})
    assert _spec("-s fr -t en").direction(tmp_path) == ("fr", "en")
    _spec("-s de -t en --max-source-positions 20").check_lengths(tmp_path, "test")
    with pytest.raises(PruningError, match=r"test split .* source sentence of 60 tokens"):
        _spec("-s fr -t en --max-source-positions 20").check_lengths(tmp_path, "test")
    with pytest.raises(PruningError, match="has no train split of fr and en"):
        _spec("-s fr -t en").check_split(tmp_path, "train")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", None),
        ("--max-source-positions 5 --max-target-positions 6", None),
        ("--max-source-positions 4", "source sentence of 5 tokens, more than --max-source-pos.* 4"),
        ("--max-target-positions 5", "target sentence of 6 tokens, more than --max-target-pos.* 5"),
        ("-s en -t de --max-source-positions 5", "source sentence of 6 tokens"),
        ("--max-source-positions 4 --truncate-source", None),
    ],
)
def test_sentences_that_are_too_long_are_found(tmp_path, flags, message):
    write_data(tmp_path)
    if message is None:
        _spec(flags).check_lengths(tmp_path, "test")
    else:
        with pytest.raises(PruningError, match=message):
            _spec(flags).check_lengths(tmp_path, "test")


def test_data_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PruningError, match="there is no data folder"):
        _spec("").direction(tmp_path / "none")
    with pytest.raises(PruningError, match="holds no dictionaries"):
        check_dictionaries(tmp_path)
    (tmp_path / "dict.de.txt").write_text("a 1\n")
    with pytest.raises(PruningError, match="holds no binarised text"):
        _spec("").direction(tmp_path)
    with pytest.raises(PruningError, match=r"no dictionary of 'fr' \(dict.fr.txt\), only of de"):
        _spec("-s de -t fr").direction(tmp_path)


@pytest.mark.parametrize(("name", "content"), [("idx", b""), ("idx", b"MMIDIDX"), ("bin", b"")])
def test_damaged_data_are_refused(tmp_path, name, content):
    write_data(tmp_path)
    path = next(tmp_path.glob(f"test.*.{name}"))
    path.write_bytes(content)
    with pytest.raises(PruningError, match="has no test split that fairseq can read"):
        _spec("--task translation").check_lengths(tmp_path, "test")


def test_validation_and_test_are_in_the_first_shard():
    assert data_folders("one:two") == [Path("one"), Path("two")]


@pytest.mark.parametrize(
    ("limits", "batches"),
    [((12, None), 3), ((20, None), 2), ((None, 1), 4), ((1000, 3), 2), ((5, None), None)],
)
def test_batches_are_counted_as_fairseq_makes_them(tmp_path, limits, batches):
    write_data(tmp_path, splits={"train": (5, 2, 3, 6)})
    assert _spec("").count_batches(tmp_path, "train", *limits) == batches


def test_only_dictionaries_that_a_model_reads_are_compared(tmp_path):
    trained, own = (write_data(tmp_path / name) for name in ("trained", "own"))
    model, config = Path("model.pt"), {"_name": "translation", "data": str(trained)}
    for folder in (trained, own):
        (folder / "dict.fr.txt").write_text(f"{folder.name} 3\n")
    refuse_other_dictionaries(model, config, own)
    # Of a model of other languages, those are compared that both know.
    elsewhere = {**config, "source_lang": "cs", "target_lang": "en"}
    for known in (config, elsewhere):
        (own / "dict.en.txt").write_text("b 1\n")
        with pytest.raises(PruningError, match="has other symbols or another order of them"):
            refuse_other_dictionaries(model, known, own)
