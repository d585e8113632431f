"""The toy corpus files: sizes, distinctness, determinism."""

from __future__ import annotations

import toy_corpus

SPLITS = ("train", "valid", "test")
# Whoever changes the grammar or the lexicon on purpose copies the new draw here.
FIRST_DRAW = [
    (
        "Du hast einen Hasen gefüttert, aber ein Bruder hat mit einem starken jungen "
        "Nachbarn gesprochen.",
        "You fed a rabbit, but a brother spoke with a strong young neighbor.",
    ),
    (
        "Wird ein Onkel schöne neue Bücher schreiben?",
        "Will an uncle write beautiful new books?",
    ),
    (
        "Zwei Mädchen mussten durch den schönen Wald fahren.",
        "Two girls had to drive through the beautiful forest.",
    ),
]


def read(folder):
    splits = {}
    for split in SPLITS:
        halves = [(folder / f"{split}.{code}").read_text(encoding="utf-8") for code in ("de", "en")]
        splits[split] = list(zip(*(half.splitlines() for half in halves), strict=True))
    return splits


def test_default_corpus_is_large_and_leaks_nothing(tmp_path):
    toy_corpus.main(["--out", str(tmp_path / "toy")])
    splits = read(tmp_path / "toy")
    assert {split: len(pairs) for split, pairs in splits.items()} == {
        "train": 20000,
        "valid": 500,
        "test": 500,
    }
    pairs = [pair for split in SPLITS for pair in splits[split]]
    for side in (0, 1):
        assert len({pair[side] for pair in pairs}) == 21000
    lengths = {
        split: sum(len(source.split()) for source, _ in found) / len(found)
        for split, found in splits.items()
    }
    assert max(lengths.values()) - min(lengths.values()) < 1, "the splits are alike"


def test_the_seed_decides_every_byte(tmp_path):
    contents = []
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        argv = ["--out", str(tmp_path / name), "--seed", seed]
        toy_corpus.main([*argv, "--train", "200", "--valid", "20", "--test", "10"])
        files = sorted((tmp_path / name).iterdir())
        assert len(files) == 6
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_the_draw_is_the_same_on_every_python():
    assert toy_corpus.draw_pairs(3, seed=1) == FIRST_DRAW


def test_an_existing_folder_is_refused(refusal, tmp_path):
    (tmp_path / "toy").mkdir()
    assert "remove it" in refusal(toy_corpus, ["--out", str(tmp_path / "toy")])
    assert "above 0" in refusal(toy_corpus, ["--out", str(tmp_path / "new"), "--train", "0"])
    assert list(tmp_path.iterdir()) == [tmp_path / "toy"]
