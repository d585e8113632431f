#!/usr/bin/env python3
"""Turn labelled sentences or pairs of sentences into a data folder for classification."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_folder import is_prepared, library_versions
from nli_examples import UNLABELLED, Example, find_splits, read_examples
from nli_splits import (
    HELD_OUT_MOST,
    HELD_OUT_SHARE,
    WHOLE,
    check_labels,
    class_order,
    draw_splits,
    keep,
    say_shared,
)
from pair_corpus import SPLITS
from prep_common import (
    CommandParser,
    positive_int,
    require_new,
    run_command,
    staged_folder,
    step,
)
from raw_text import check_raw
from text_settings import add_folder_options
from toy_inference import draw_examples

from dsp_text.errors import TextError
from dsp_text.settings import FORMAT_VERSION, SETTINGS_FILE

LIBRARIES = ("tokenizers", "fairseq")
TOY_PAIRS = 12_000
MODEL_FILES = (
    "config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
)

DESCRIPTION = f"""\
Turn labelled sentences or pairs of sentences into a data folder for classification.

The files are MNLI's or SNLI's as they are distributed (.jsonl), or lines of label, premise,
hypothesis between tabs; label, sentence for single sentences. Plain or .gz, UTF-8. A first
line may name the columns. The text is split by the tokenizer of the model that
dsp-import-bert imported; without --model, into whole words. Pairs labelled "{UNLABELLED}" are left
out, and counted.
"""

EPILOG = f"""\
where the text is:
  --from FOLDER   files called train, dev or valid, and test, by their names; of MNLI, the
                  matched dev file is valid, and the mismatched one test
  --from FILE     one file, which is split so that no premise is in two splits
  --train FILE --valid FILE [--test FILE]
                  these; together with --from FOLDER they come before its files
  --toy [N]       no text: N pairs (default {TOY_PAIRS:,}) that this project makes up

the order of the classes:
  that of --labels; else of the model, if it has a classification head; else entailment,
  neutral, contradiction, for labels that are among these; else sorted. Labels of the
  training text are taken, and a line with another is refused.

examples:
  bash data-prep/prepare-nli.sh --toy --out data/toy-nli
  bash data-prep/prepare-nli.sh --from multinli_1.0 --model models/minilm --out data/mnli
  bash data-prep/prepare-nli.sh --from my.tsv.gz --model models/minilm --out data/mine
  fairseq-train data/mine --task dsp_sentence_prediction ...

the folder then holds:
  input0|input1|label/  the splits in numbers, and dict.txt; label/dict.txt has the classes
  raw/valid|test.tsv    the held-out examples as they came in      prep.json  the settings
  tokenizer.json        how the text was split
The folder appears only when it is whole.
"""


def find_files(args: argparse.Namespace) -> dict[str, Path]:
    """Return the file of each split, or the one that is to be split; none for the toy corpus."""
    given = {split: path for split in SPLITS if (path := getattr(args, split)) is not None}
    sources = (args.source is not None or bool(given)) + (args.toy is not None)
    if sources != 1:
        raise TextError("say where the text is: --from, --train and --valid, or --toy; see --help")
    for split, path in given.items():
        if not path.is_file():
            raise TextError(f"there is no file {path}; give another --{split}")
    if args.toy is not None:
        return {}
    if args.source is None:
        if not {"train", "valid"} <= given.keys():
            raise TextError("give --train and --valid, or --from a file that is split here")
        return given
    if args.source.is_file():
        if given:
            names = " and ".join(f"--{split}" for split in given)
            raise TextError(
                f"--from {args.source} is a file, which is split here: leave out {names}"
            )
        return {WHOLE: args.source}
    return find_splits(args.source, given)


def write_folder(
    args: argparse.Namespace, splits: Mapping[str, Sequence[Example]], wanted: Mapping[str, Any]
) -> None:
    """Write the data folder, whole or not at all."""
    step("loading the tokenizer")
    from nli_folder import room_for, word_tokenizer, write_dictionaries, write_split

    from dsp_fairseq.errors import PruningError
    from dsp_fairseq.imports.tokenizer import PretrainedTokenizer

    train = splits["train"]
    sentences = len(train[0].sentences)
    try:
        if args.model is None:
            tokenizer = word_tokenizer(train)
        else:
            tokenizer = PretrainedTokenizer.open(args.model)
        labels = class_order(args.labels, tokenizer.labels, train)
        check_labels(labels, splits)
        longest = args.max_length or tokenizer.max_positions
        if longest > tokenizer.max_positions:
            raise TextError(
                f"--max-length {longest} is more than the {tokenizer.max_positions} tokens that "
                "the model takes; give a smaller one"
            )
        room_for(longest, sentences, tokenizer)
        record = dict(wanted) | {"labels": labels, "sentences": sentences}
        with staged_folder(args.out) as folder:
            write_dictionaries(folder, tokenizer, labels, sentences > 1)
            step("splitting the text into tokens")
            for split, examples in splits.items():
                cut = write_split(folder, split, examples, tokenizer, labels, longest)
                say_counts(split, examples, labels, cut, longest)
                record |= {f"lines_{split}": len(examples), f"cut_{split}": cut}
                if split != "train":
                    write_raw(folder, split, examples)
            record |= library_versions(LIBRARIES)
            content = json.dumps(record, indent=2, ensure_ascii=False)
            (folder / SETTINGS_FILE).write_text(f"{content}\n", encoding="utf-8")
    except PruningError as error:
        raise TextError(error.message) from None
    step(f"wrote {args.out}")
    separator = " --separator-token 2" if tokenizer.separators > 1 and sentences > 1 else ""
    step(
        f"train with --task dsp_sentence_prediction --num-classes {len(labels)} --init-token 0"
        f"{separator} --max-positions {tokenizer.max_positions}"
    )


def say_counts(
    split: str, examples: Sequence[Example], labels: Sequence[str], cut: int, longest: int
) -> None:
    """Tell the user how many examples of each class a split has, and how many were cut."""
    number = Counter(example.label for example in examples)
    classes = ", ".join(f"{number[label]:,} {label}" for label in labels)
    shorter = f"; {cut:,} cut to {longest} tokens" if cut else ""
    step(f"{split}: {len(examples):,} examples ({classes}){shorter}")


def write_raw(folder: Path, split: str, examples: Sequence[Example]) -> None:
    """Keep the held-out examples, in the lines of the split."""
    (folder / "raw").mkdir(exist_ok=True)
    lines = ("\t".join((example.label, *example.sentences)) for example in examples)
    text = "".join(f"{line}\n" for line in lines)
    (folder / f"raw/{split}.tsv").write_text(text, encoding="utf-8", newline="\n")


def describe(args: argparse.Namespace, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the settings and inputs that decide what the folder holds, for prep.json."""
    step("checking the raw text")
    settings: dict[str, Any] = {"format_version": FORMAT_VERSION, "kind": "classification"}
    settings |= {"labels_given": args.labels, "max_length": args.max_length, "toy": args.toy}
    # What is not used is said too: a folder that was made with it is another.
    splits = (*SPLITS, WHOLE)
    settings |= dict.fromkeys(("held_out", "seed", *(f"sha256_{split}" for split in splits)))
    settings["sha256_model"] = None
    if WHOLE in files or args.toy is not None:
        settings |= {"held_out": args.held_out, "seed": args.seed}
    for split, path in files.items():
        settings[f"sha256_{split}"] = check_raw(path).sha256
    if args.model is not None:
        found = [path for name in MODEL_FILES if (path := args.model / name).is_file()]
        content = b"".join(path.read_bytes() for path in found)
        settings["sha256_model"] = hashlib.sha256(content).hexdigest()
    return settings


def label_names(text: str) -> list[str]:
    """Parse the classes, between commas."""
    labels = ["_".join(label.split()) for label in text.split(",")]
    if len(set(labels)) != len(labels) or len(labels) < 2 or {"", UNLABELLED} & set(labels):
        raise argparse.ArgumentTypeError(f"{text!r} is not like entailment,neutral,contradiction")
    return labels


def build_parser() -> CommandParser:
    """Return the parser of the command line."""
    parser = CommandParser(prog="prepare-nli.sh", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("--from", dest="source", type=Path, metavar="PATH", help="folder of files, or one file")
    for split in SPLITS:
        add(f"--{split}", type=Path, metavar="FILE", help=f"file of the {split} split")
    add("--toy", type=positive_int, nargs="?", const=TOY_PAIRS, metavar="N",
        help="make a small corpus up")  # fmt: skip
    add("--model", type=Path, metavar="FOLDER",
        help="folder of Hugging Face's transformers, the one given to dsp-import-bert")  # fmt: skip
    add("--labels", type=label_names, metavar="A,B,...", help="the classes, in order")
    add("--max-length", type=positive_int, metavar="N",
        help="cut inputs to N tokens, the longer sentence first (default: what the model takes)",
        )  # fmt: skip
    add("--held-out", type=positive_int, metavar="N",
        help="examples in valid and in test, where one file is split "
        f"(default: {HELD_OUT_SHARE:.0%}, at most {HELD_OUT_MOST:,})".replace("%", "%%"),
        )  # fmt: skip
    add("--seed", type=int, default=1, help="of the drawing of these (default 1)")
    add_folder_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    files = find_files(args)
    if not args.if_missing:
        require_new(args.out)
    if args.model is not None and not args.model.is_dir():
        raise TextError(f"there is no folder {args.model}; give another --model")
    settings = describe(args, files)
    if args.if_missing and is_prepared(args.out, settings):
        return
    if files and WHOLE not in files:
        splits = {split: keep(read_examples(path), split) for split, path in files.items()}
        widths = {len(examples[0].sentences) for examples in splits.values()}
        if len(widths) > 1:
            raise TextError("some files have single sentences and others pairs; prepare them apart")
        say_shared(splits)
    else:
        step("drawing the toy pairs") if args.toy else None
        found = read_examples(files[WHOLE]) if files else draw_examples(args.toy, args.seed)
        splits = draw_splits(keep(found, WHOLE), args.held_out, args.seed)
    write_folder(args, splits, settings)


if __name__ == "__main__":
    run_command(main)
