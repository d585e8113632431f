"""Labelled sentences become the numbers of a dictionary, each in its split and with its class."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nli_corpus
import pytest
from fairseq.data import Dictionary, data_utils
from nli_examples import Example, find_splits, read_examples
from nli_folder import shorten
from nli_splits import draw_splits
from prep_helpers import lines, names, settings_of
from pretrained import LABELS, config_of, tensors_of, write_pretrained
from toy_inference import MOST, draw_examples

from dsp_fairseq.imports.bert import import_bert
from dsp_text.errors import TextError

Rows = Sequence[tuple[str, ...]]
ROWS = [("neutral", "a b", "c"), ("-", "c", "c"), ("entailment", "j i", "h g f"),
        ("contradiction", "a b", "d e")]  # fmt: skip
KEPT = [row for row in ROWS if row[0] != "-"]


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Writes rows, as columns or as objects with these names."""

    def make(name: str, rows: Rows, fields: Sequence[str] = ()) -> Path:
        text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
        if fields:
            objects = (json.dumps(dict(zip(fields, row, strict=True))) for row in rows)
            text = "".join(f"{line}\n" for line in objects)
        content = text.encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return make


@pytest.fixture
def model(tmp_path) -> Callable[..., Path]:
    def make(labels: Sequence[str] = ()) -> Path:
        named = {"id2label": {str(n): label for n, label in enumerate(labels)}}
        config = config_of("bert", **named)
        return write_pretrained(tmp_path / "model", config, tensors_of(config, len(labels)))

    return make


def prepare(out: Path, *arguments: object) -> Path:
    nli_corpus.main([*map(str, arguments), "--out", str(out)])
    return out


def read(data: Path, split: str) -> list[tuple[str, ...]]:
    """Label and sentences of each line, as the task sees them."""
    parts = [part for part in ("label", "input0", "input1") if (data / part).is_dir()]
    columns = []
    for part in parts:
        dictionary = Dictionary.load(str(data / part / "dict.txt"))
        tokens = data_utils.load_indexed_dataset(str(data / part / split), dictionary)
        assert all(line[-1] == dictionary.eos() for line in tokens)
        columns.append([dictionary.string(line) for line in tokens])
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("x.tsv", ()),
        ("x.txt.gz", ()),
        ("x.jsonl", ("gold_label", "sentence1", "sentence2")),
        ("x.jsonl.gz", ("label", "premise", "hypothesis")),
    ],
)
def test_files_of_every_kind_give_the_same_examples(write, name, fields):
    found = list(read_examples(write(name, ROWS, fields)))
    assert [(e.label, *e.sentences) for e in found] == ROWS
    assert found[2].place.endswith(f"{name}, line 3")


def test_a_header_names_the_columns(write):
    rows = [(str(n), second, first, label) for n, (label, first, second) in enumerate(ROWS)]
    path = write("x.tsv", [("index", "Sentence2", "sentence1", "gold_label"), *rows])
    assert [(e.label, *e.sentences) for e in read_examples(path)] == ROWS


def test_minus_one_may_be_no_label(write, tmp_path, refusal):
    path = write("x.jsonl", [(-1, "a"), (0, "b"), (1, "c")] * 3, ("label", "text"))
    arguments = ["--train", str(path), "--valid", str(path), "--out", str(tmp_path / "out")]
    assert "label -1 may stand for none" in refusal(nli_corpus, arguments)
    prepare(tmp_path / "out", *arguments[:4], "--labels=-1,0,1")


def test_a_header_without_a_known_label_is_refused(write, tmp_path, refusal):
    path = write("x.tsv", [("sentiment", "text"), ("good", "a"), ("bad", "b")])
    arguments = ["--train", str(path), "--valid", str(path), "--out", str(tmp_path / "out")]
    assert "none of the names sentiment, text are known" in refusal(nli_corpus, arguments)


@pytest.mark.parametrize(
    "header", [("category", "message"), ("is_duplicate", "q1", "q2"), ('"label"', '"text"')]
)
def test_a_header_of_other_names_is_no_example(write, tmp_path, refusal, header):
    rows = [("AB"[n % 2], *"ab"[: len(header) - 1]) for n in range(30)]
    path = write("x.tsv", [header, *rows])
    arguments = ["--train", str(path), "--valid", str(path), "--out", str(tmp_path / "out")]
    said = refusal(nli_corpus, arguments)
    assert f"x.tsv, line 1: no other line has the label {header[0]}. If this line names" in said
    known = ("label", *(["text"], ["premise", "hypothesis"])[len(header) - 2])
    assert len(list(read_examples(write("y.tsv", [known, *rows])))) == 30
    # A first example whose label comes again is one, in any spelling, and so is one without label.
    for label in ("A", " A ", "-"):
        found = list(read_examples(write("z.tsv", [(label, *rows[0][1:]), *rows])))
        assert len(found) == 31
    assert len(list(read_examples(write("z.tsv", [("[A]", *rows[0][1:])] * 2)))) == 2


@pytest.mark.parametrize(
    ("name", "rows", "fields", "sentences", "said"),
    [
        ("x.jsonl", [("A", "a", "b")], ("label", "text", "text_pair"), ("a", "b"), ""),
        ("x.tsv", [("label", "sentence", "sentence2"), ("A", "a", "b")], (), ("a", "b"), ""),
        ("x.tsv", [("text", "label", "other"), ("a", "A", "b")], (), ("a",),
         "x.tsv: read label, text; not read other"),
        ("x.jsonl", [("A", "a", 1)], ("label", "text", "other"), ("a",),
         "x.jsonl: read label, text; not read other"),
        ("x.tsv", [("A", '"he said ""a"" twice"')], (), ('"he said ""a"" twice"',),
         "note: 1 cells of x.tsv begin and end with a quotation mark"),
    ],
)  # fmt: skip
def test_what_is_read_of_a_file_and_what_is_not(write, capsys, name, rows, fields, sentences, said):
    (example,) = read_examples(write(name, rows, fields))
    assert example.sentences == sentences
    printed = capsys.readouterr().out
    assert said in printed if said else not printed


def test_json_lines_by_another_name_are_not_taken_for_columns(write, tmp_path, refusal):
    path = write("x.json", [("A", "a")], ("label", "text"))
    arguments = ["--train", str(path), "--valid", str(path), "--out", str(tmp_path / "out")]
    assert "x.json, line 1: JSON; call a file of JSON lines .jsonl" in refusal(
        nli_corpus, arguments
    )


def test_labels_may_be_numbers_or_several_words(write, tmp_path, refusal):
    rows = [(1, "a"), (2.0, "a"), ("very good", "b")]
    path = write("x.jsonl", rows, ("label", "text"))
    assert [(e.label, e.sentences) for e in read_examples(path)] == [
        ("1", ("a",)),
        ("2", ("a",)),
        ("very_good", ("b",)),
    ]
    path = write("y.jsonl", [(None, "a")], ("label", "text"))
    arguments = ["--train", str(path), "--valid", str(path), "--out", str(tmp_path / "out")]
    assert 'label is null; give "-" for none' in refusal(nli_corpus, arguments)


def test_the_files_of_mnli_and_snli_are_found(tmp_path):
    for corpus, held_out in (
        ("multinli_1.0", ("dev_matched", "dev_mismatched")),
        ("snli_1.0", ("dev", "test")),
    ):
        folder = tmp_path / corpus
        folder.mkdir()
        for split in ("train", *held_out):
            for end in ("jsonl", "txt"):
                (folder / f"{corpus}_{split}.{end}").touch()
        (folder / "README.txt").touch()
        found = [path.name for path in find_splits(folder, {}).values()]
        assert found == [f"{corpus}_{split}.jsonl" for split in ("train", *held_out)]


def test_pairs_are_tokens_of_the_imported_model(write, model, tmp_path, capsys):
    folder = model()
    train, valid = write("train.tsv", ROWS), write("valid.tsv", KEPT[:2])
    out = prepare(tmp_path / "out", "--train", train, "--valid", valid, "--model", folder)
    assert read(out, "train") == KEPT
    assert read(out, "valid") == KEPT[:2]
    assert lines(out / "label/dict.txt") == [f"{label} 1" for label in LABELS]
    imported = import_bert(folder, tmp_path / "imported.pt")
    for part in ("input0", "input1"):
        assert (out / part / "dict.txt").read_text() == imported.dictionary.read_text()
    assert lines(out / "raw/valid.tsv") == ["\t".join(row) for row in KEPT[:2]]
    printed = capsys.readouterr().out
    assert "train: kept 3 of 4 examples (left out: 1 without label)" in printed
    assert "2 of 2 examples of valid have a premise of train" in printed


@pytest.mark.parametrize(
    ("given", "of_model", "expected"),
    [
        ((), (), LABELS),
        ((), sorted(LABELS), sorted(LABELS)),
        (("--labels", "other,neutral,contradiction,entailment"), (),
         ("other", "neutral", "contradiction", "entailment")),
    ],
)  # fmt: skip
def test_the_order_of_the_classes(write, model, tmp_path, given, of_model, expected):
    path = write("x.tsv", KEPT)
    split = ("--train", path, "--valid", path)
    out = prepare(tmp_path / "out", *split, *given, "--model", model(of_model))
    assert lines(out / "label/dict.txt") == [f"{label} 1" for label in expected]
    assert [row[0] for row in read(out, "train")] == [row[0] for row in KEPT]


def test_single_sentences_and_words_of_the_text(write, tmp_path):
    rows = [("yes", "Well done!"), ("no", "well Bad!"), ("yes", "well"), ("no", "")]
    path = write("x.tsv", rows)
    out = prepare(tmp_path / "out", "--train", path, "--valid", path)
    assert read(out, "train") == [("yes", "well <unk> !"), ("no", "well <unk> !"), ("yes", "well")]
    assert read(out, "valid")[-1] == ("no", "")
    assert names(out) == {"input0", "label", "raw", "prep.json", "tokenizer.json"}
    assert settings_of(out)["labels"] == ["no", "yes"]


def test_long_inputs_are_cut_at_the_longer_sentence(write, model, tmp_path, capsys):
    rows = [("entailment", "a b c d e f", "g h"), ("neutral", "a", "b c d")]
    path = write("x.tsv", rows)
    split = ("--train", path, "--valid", path)
    out = prepare(tmp_path / "out", *split, "--model", model(), "--max-length", 8)
    assert read(out, "train") == [("entailment", "a b c", "g h"), rows[1]]
    assert (
        "train: 2 examples (1 entailment, 1 neutral); 1 cut to 8 tokens" in capsys.readouterr().out
    )
    pair = [[1, 2, 3], [4, 5, 6]]
    assert shorten(pair, 3) and pair == [[1, 2], [4]]


def test_no_premise_is_in_two_splits():
    examples = [Example("x", "yes", (f"premise {n % 40}", f"{n}")) for n in range(200)]
    splits = draw_splits(examples, 20, seed=1)
    premises = {split: {e.sentences[0] for e in part} for split, part in splits.items()}
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 160, "valid": 20, "test": 20,
    }  # fmt: skip
    assert sum(map(len, premises.values())) == len(set.union(*premises.values())) == 40
    assert splits == draw_splits(examples, 20, seed=1) != draw_splits(examples, 20, seed=2)


def test_a_second_run_leaves_the_folder_alone(write, tmp_path, capsys, refusal):
    path = write("x.tsv", KEPT * 3)
    arguments = ("--train", path, "--valid", path, "--if-missing")
    out = prepare(tmp_path / "out", *arguments)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    prepare(out, *arguments)
    assert "already prepared" in capsys.readouterr().out
    for more, said in (
        (("--max-length", "9"), "made with another max_length (None, now 9)"),
        (("--test", str(path)), "made with another sha256_test (None, now '"),
    ):
        error = refusal(nli_corpus, [*map(str, arguments), "--out", str(out), *more])
        assert said in error
    with_test = (*arguments, "--test", path)
    other = prepare(tmp_path / "other", *with_test)
    error = refusal(nli_corpus, [*map(str, arguments), "--out", str(other)])
    assert "made with another sha256_test ('" in error
    write("x.tsv", KEPT)
    error = refusal(nli_corpus, [*map(str, arguments), "--out", str(out)])
    assert "another sha256_train" in error
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def test_an_error_in_the_middle_leaves_nothing(monkeypatch, refusal, write, tmp_path):
    import nli_folder

    path = write("x.tsv", KEPT)

    def fail(sentences, room):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nli_folder, "shorten", fail)
    place = tmp_path / "place"
    argv = ["--train", str(path), "--valid", str(path), "--out", str(place / "out")]
    assert "No space left on device" in refusal(nli_corpus, argv)
    assert names(place) == set()


def test_toy_pairs_in_one_go(run, tmp_path):
    out = tmp_path / "toy"
    done = run("prepare-nli.sh", "--toy", 90, "--held-out", 9, "--out", out)
    assert done.returncode == 0, done.stderr
    assert [settings_of(out)[f"lines_{split}"] for split in ("train", "valid", "test")] == [
        72,
        9,
        9,
    ]
    assert "--num-classes 3 --init-token 0 --max-positions 512" in done.stdout


def test_premises_that_look_the_same_are_one():
    looks = ("The café {}", "The café\u200b {}", "The cafe\u0301 {}", "THE CAFÉ {}")
    examples = [Example("x", "yes", (look.format(n), f"{n}")) for n in range(40) for look in looks]
    splits = draw_splits(examples, 20, 1)
    numbers = {split: {e.sentences[1] for e in part} for split, part in splits.items()}
    assert sum(map(len, numbers.values())) == 40


def test_toy_pairs_are_of_one_premise_each_and_the_same_every_time():
    examples = list(draw_examples(900, seed=1))
    assert [e.label for e in examples[:3]] == list(LABELS)
    assert len({e.sentences for e in examples}) == len(examples) == 900
    assert len({e.sentences[0] for e in examples}) == 300
    assert examples == list(draw_examples(900, seed=1)) != list(draw_examples(900, seed=2))
    with pytest.raises(TextError, match="are too many"):
        next(draw_examples(MOST + 1, seed=1))


def test_what_a_toy_premise_says_decides_the_label():
    """Of every kind two meanings: the hypothesis has one, the premise it, the other or neither."""
    meanings = [
        (("happy", "cheerful"), ("sad", "unhappy")),
        (("big", "large"), ("small", "little")),
        (("sleeps", "naps"), ("runs", "races")),
        (("woods", "forest"), ("home", "house")),
    ]

    def meaning(sentence: str, kind) -> int | None:
        words = set(sentence.rstrip(".").split())
        return next((n for n, side in enumerate(kind) if words & set(side)), None)

    for example in draw_examples(600, seed=3):
        premise, hypothesis = example.sentences
        (kind,) = [kind for kind in meanings if meaning(hypothesis, kind) is not None]
        stated, claimed = meaning(premise, kind), meaning(hypothesis, kind)
        expected = "neutral" if stated is None else LABELS[0] if stated == claimed else LABELS[2]
        assert example.label == expected
