"""Examples on their way into splits: which are kept, where they go, and which classes they have."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from nli_examples import UNLABELLED, Example
from pair_corpus import KEPT, Tally, digest
from prep_common import step

from dsp_text.blank import is_blank
from dsp_text.errors import TextError

WHOLE = "all"
"""The one file that is split here, among the splits."""

HELD_OUT_SHARE = 0.05
HELD_OUT_MOST = 2000
NLI_LABELS = ("entailment", "neutral", "contradiction")
RESERVED = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MOST_CLASSES = 1000
"""More labels in a file are sentences in the wrong column."""


def keep(examples: Iterable[Example], split: str) -> list[Example]:
    """Return the examples that count, and say what was left out.

    Empty sentences are left out of the training text alone: a model meets them in use.
    """
    tally, kept, width = Tally("examples"), [], None
    for example in examples:
        width = width or len(example.sentences)
        if len(example.sentences) != width:
            raise TextError(f"{example.place}: not as many sentences as before; prepare them apart")
        empty = split in ("train", WHOLE) and any(map(is_blank, example.sentences))
        reason = "without label" if example.label == UNLABELLED else "empty" if empty else KEPT
        tally.reasons[reason] += 1
        if reason == KEPT:
            kept.append(example)
        elif empty:
            tally.blanks.append(example.place)
    step(f"{split}: {tally}")
    if tally.blanks:
        step(f"empty: {tally.name_blanks()}")
    if not kept:
        raise TextError(f"no example is left for {split}; give more text")
    if (labels := len({example.label for example in kept})) > MOST_CLASSES:
        raise TextError(
            f"{kept[0].place.rpartition(',')[0]} has {labels:,} different labels; give the label "
            "first, then the sentences"
        )
    return kept


def draw_splits(
    examples: Sequence[Example], held_out: int | None, seed: int
) -> dict[str, list[Example]]:
    """Split examples so that all with one premise, or first sentence, are together."""
    size = held_out or max(1, min(HELD_OUT_MOST, int(len(examples) * HELD_OUT_SHARE)))
    number = Counter(map(_premise, examples))
    written = {_premise(example): example.sentences[0] for example in reversed(examples)}
    premises = sorted(written, key=lambda premise: written[premise])
    random.Random(seed).shuffle(premises)
    where, rest = {}, iter(premises)
    for split in ("valid", "test"):
        left = size
        while left > 0 and (premise := next(rest, None)) is not None:
            where[premise] = split
            left -= number[premise]
    splits: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    for example in examples:
        splits[where.get(_premise(example), "train")].append(example)
    if not all(splits.values()):
        raise TextError(
            f"{len(examples):,} examples of {len(premises):,} premises are too few for {size:,} in "
            "valid, as many in test and the rest in train; give more text or a smaller --held-out"
        )
    return splits


def _premise(example: Example) -> int:
    """Stands for the premise, and for what looks the same: tokens may be lowercased."""
    return digest(example.sentences[0].lower())


def say_shared(splits: Mapping[str, Sequence[Example]]) -> None:
    """Say how much of the held-out text has a premise that is trained on."""
    trained = set(map(_premise, splits["train"]))
    for split, examples in splits.items():
        shared = sum(_premise(example) in trained for example in examples)
        if split != "train" and shared:
            step(
                f"note: {shared:,} of {len(examples):,} examples of {split} have a premise of train"
            )


def class_order(
    given: Sequence[str] | None, model: Sequence[str], train: Sequence[Example]
) -> list[str]:
    """Return the classes in their order; see --help."""
    if given or model:
        return list(given or model)
    found = {example.label for example in train}
    if "-1" in found:
        raise TextError(
            f"label -1 may stand for none: write {UNLABELLED} in its place, or if it is a class, "
            "name all classes, as in --labels=-1,0,1"
        )
    if found <= set(NLI_LABELS):
        return [label for label in NLI_LABELS if label in found]
    return sorted(found)


def check_labels(labels: Sequence[str], splits: Mapping[str, Sequence[Example]]) -> None:
    """Refuse a label that is none of the classes, and less than two classes."""
    if len(labels) < 2:
        raise TextError(f"the only label is {', '.join(labels)}; give text of two classes or more")
    for label in labels:
        if label in RESERVED or label.startswith("madeupword"):
            raise TextError(
                f"label {label!r} is a symbol of fairseq's; give the class another name"
            )
    for examples in splits.values():
        for example in examples:
            if example.label not in labels:
                raise TextError(
                    f"{example.place}: label {example.label!r} is none of the classes "
                    f"{', '.join(labels)}; mend the line, or name all classes by --labels"
                )
