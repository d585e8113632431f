"""The data folder of a classifier: input0/, for pairs input1/, and label/, in numbers of tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from nli_examples import Example
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tqdm import tqdm

from dsp_text.errors import TextError

BATCH = 1000
"""Examples that are tokenised at once."""

SEEN = 2
"""How often a word of an own vocabulary comes in training, so that others are trained too."""

_SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
OWN_LENGTH = 512
"""Tokens of an input without an imported model: what fairseq's models of sentences take."""


def word_tokenizer(examples: Sequence[Example]) -> Any:
    """Return the tokenizer of the lowercased words and marks that come in these examples."""
    from dsp_fairseq.imports.tokenizer import PretrainedTokenizer

    lower, split = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    count: Counter[str] = Counter()
    for example in examples:
        for sentence in example.sentences:
            pieces = split.pre_tokenize_str(lower.normalize_str(sentence))
            count.update(word for word, _ in pieces)
    for name in _SPECIAL:
        del count[name]
    words = sorted(word for word, number in count.items() if number >= SEEN)
    tokens = [*_SPECIAL[:4], *sorted(words, key=lambda word: -count[word]), _SPECIAL[4]]
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=_SPECIAL[3]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = lower, split
    return PretrainedTokenizer(tokenizer, tokens, [], OWN_LENGTH, 1)


def write_dictionaries(folder: Path, tokenizer: Any, labels: Sequence[str], pairs: bool) -> None:
    """Write the dictionaries of the inputs and of the labels, in the order of the classes."""
    from dsp_fairseq.imports.bert import write_vocabulary

    for part in ("input0", *["input1"] * pairs, "label"):
        (folder / part).mkdir()
        if part != "label":
            write_vocabulary(tokenizer.tokens, folder, folder / part / "dict.txt")
    lines = "".join(f"{label} 1\n" for label in labels)
    (folder / "label/dict.txt").write_text(lines, encoding="utf-8")
    tokenizer.tokenizer.save(str(folder / "tokenizer.json"))


def write_split(
    folder: Path,
    split: str,
    examples: Sequence[Example],
    tokenizer: Any,
    labels: Sequence[str],
    longest: int,
) -> int:
    """Write a split; returns how many inputs were cut because they are longer than `longest`."""
    from fairseq.data.indexed_dataset import make_builder
    from torch import IntTensor

    end, first = 2, 4  # What fairseq's dictionaries begin with.
    sentences = len(examples[0].sentences)
    parts = [f"input{number}" for number in range(sentences)]
    room = room_for(longest, sentences, tokenizer)
    # The label's numbers have their own dictionary, of the same four tokens at its start.
    builders = [
        make_builder(f"{folder / part / split}.bin", impl="mmap", vocab_size=len(tokenizer.tokens))
        for part in (*parts, "label")
    ]
    number = {label: first + place for place, label in enumerate(labels)}
    cut = 0
    for example, tokens in tqdm(_encoded(examples, tokenizer), split, len(examples), disable=None):
        cut += shorten(tokens, room)
        for builder, line in zip(builders, [*tokens, [number[example.label]]], strict=True):
            builder.add_item(IntTensor([*line, end]))
    for builder, part in zip(builders, (*parts, "label"), strict=True):
        builder.finalize(f"{folder / part / split}.idx")
    return cut


def room_for(longest: int, sentences: int, tokenizer: Any) -> int:
    """Return how many tokens an input has for its sentences, beside those that the task adds."""
    between = tokenizer.separators - 1 if sentences > 1 else 0
    room = longest - 1 - sentences - between
    if room < sentences:
        raise TextError(f"--max-length {longest} leaves no room for sentences; give a larger one")
    return room


def shorten(sentences: list[list[int]], room: int) -> bool:
    """Cut sentences at their end, token by token the longer one; say whether that was needed."""
    total = sum(map(len, sentences))
    for _ in range(total - room):
        # Of two of one length the second.
        max(reversed(sentences), key=len).pop()
    return total > room


def _encoded(
    examples: Sequence[Example], tokenizer: Any
) -> Iterator[tuple[Example, list[list[int]]]]:
    rest = iter(examples)
    while batch := list(islice(rest, BATCH)):
        sides = [tokenizer.encode(side) for side in zip(*(e.sentences for e in batch), strict=True)]
        for example, *tokens in zip(batch, *sides, strict=True):
            yield example, tokens
