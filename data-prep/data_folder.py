"""The data folder that every data-prep command makes: its settings, and all that is in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from pair_corpus import SPLITS, SplitFiles, split_files
from prep_common import staged_folder, step
from text_settings import TextSettings
from tqdm import tqdm

from dsp_text.errors import TextError
from dsp_text.settings import SETTINGS_FILE, read_settings
from dsp_text.subwords import learn_subwords, load_subwords

LIBRARIES = ("sacremoses", "subword_nmt", "sentencepiece", "fairseq")
LOG_FILE = "preprocess.log"
LONGEST = 1023
"""Tokens of a held-out sentence: the 1024 positions of fairseq's models, less the end mark."""


def is_prepared(out: Path, wanted: Mapping[str, Any]) -> bool:
    """Tell whether `out` already holds just this; refuse when it holds something else."""
    if not out.exists():
        return False
    try:
        found = read_settings(out)
    except TextError as error:
        raise TextError(
            f"{out} exists but is no prepared folder; remove it or give another --out"
        ) from error
    for key, value in wanted.items():
        if found.get(key) != value:
            raise TextError(
                f"{out} exists but was made with another {key} "
                f"({found.get(key)!r}, now {value!r}); remove it or give another --out"
            )
    step(f"{out} is already prepared with these settings; nothing to do")
    return True


def make_folder(
    out: Path, text: TextSettings, workers: int, fill: Callable[[SplitFiles], dict[str, Any]]
) -> None:
    """Make a data folder of the pairs that `fill` writes; it returns what prep.json says of them.

    The folder appears only when it is whole.
    """
    with staged_folder(out) as folder:
        work = folder / "work"
        work.mkdir()
        with split_files(work, text.languages) as files:
            settings = fill(files)
            _build(text, files, work, folder)
        step("binarising with fairseq-preprocess")
        binarise(text, work, folder, workers)
        shutil.rmtree(work)
        record = json.dumps(settings | library_versions(), indent=2, ensure_ascii=False)
        (folder / SETTINGS_FILE).write_text(f"{record}\n", encoding="utf-8")
    step(f"wrote {out}")


def _build(text: TextSettings, files: SplitFiles, work: Path, folder: Path) -> None:
    """Learn the subwords, write the encoded text into `work`, and keep the raw held-out text."""
    step(f"learning {text.vocab_size} {text.subword} symbols from both languages")
    # Sorted, so that both directions of a pair learn the same symbols.
    training = [files.read("train", code, "cleaned") for code in sorted(text.languages)]
    learn_subwords(
        text.subword,
        chain.from_iterable(training),
        text.vocab_size,
        folder,
        counts_merges=text.counts_merges,
        languages=text.languages,
    )

    step("splitting the text into subwords")
    encode = load_subwords(text.subword, folder)
    (folder / "raw").mkdir()
    for split in SPLITS:
        for code, side in zip(text.languages, ("src", "tgt"), strict=True):
            encoded = map(encode, files.read(split, code, "cleaned"))
            if split != "train":
                encoded = refuse_long(encoded, files.read(split, code, "place"))
                # Scores are computed on text, not on tokens.
                shutil.copy(files.path(split, code, "raw"), folder / "raw" / f"{split}.{side}")
            with (work / f"{split}.{code}").open("x", encoding="utf-8", newline="\n") as stream:
                for tokens in tqdm(encoded, f"{split}.{code}", files.lines[split], disable=None):
                    stream.write(f"{tokens}\n")


def refuse_long(sentences: Iterable[str], places: Iterable[str]) -> Iterator[str]:
    """Yield held-out sentences; fairseq ends at one that is longer than its models take.

    Long training sentences it leaves out by itself.
    """
    for tokens, place in zip(sentences, places, strict=True):
        if (length := tokens.count(" ") + 1) > LONGEST:
            raise TextError(
                f"{place}: {length} tokens, more than the {LONGEST} that fairseq's models take; "
                "split the sentence (in both languages)"
            )
        yield tokens


def binarise(text: TextSettings, work: Path, folder: Path, workers: int) -> None:
    """Run fairseq-preprocess on the encoded files in `work`, keeping its log in `folder`."""
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--joined-dictionary"]
    command += ["--source-lang", text.source, "--target-lang", text.target]
    for split in SPLITS:
        command += [f"--{split}pref", str(work / split)]
    command += ["--destdir", str(folder), "--workers", str(workers)]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if run.returncode:
        last = run.stdout.strip().rpartition("\n")[2] or f"exit status {run.returncode}"
        raise TextError(f"fairseq-preprocess failed: {last}")
    (folder / LOG_FILE).write_text(run.stdout, encoding="utf-8")


def library_versions(modules: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the installed version of every library that shapes the result."""
    distributions = metadata.packages_distributions()
    return {
        f"version_{module}": metadata.version(distributions[module][0])
        for module in modules
        if module in distributions
    }
