"""Text to the tokens of a dictionary, by the tokenizer of a pretrained model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import PruningError
from .bert import architecture, first_position, head_labels
from .huggingface import PretrainedFolder
from .names import SEPARATORS, SPECIAL, token_order


@dataclass(frozen=True)
class PretrainedTokenizer:
    """A tokenizer, and the numbers that fairseq gives its tokens.

    Attributes:
        tokenizer: of the library ``tokenizers``.
        tokens: in fairseq's order, from ``<s>`` to ``<mask>``, by their own names.
        labels: the classes of the model, in order; empty without a classification head.
        max_positions: how many tokens an input may have, those of the task included.
        separators: how many tokens the task puts between the sentences of a pair.
    """

    tokenizer: Any
    tokens: list[str]
    labels: list[str]
    max_positions: int
    separators: int

    @classmethod
    def open(cls, path: Path) -> PretrainedTokenizer:
        """Reads the tokenizer of a folder of Hugging Face's transformers.

        Args:
            path: a folder that ``dsp-import-bert`` takes, with ``tokenizer.json``, ``vocab.txt``
                (WordPiece), or ``vocab.json`` and ``merges.txt`` (byte-level BPE).

        Raises:
            PruningError: what the import would refuse; no tokenizer, or that of another model.
        """
        folder = PretrainedFolder.open(path)
        kind, vocabulary = architecture(folder), folder.vocabulary()
        order = token_order(kind, vocabulary, path)
        tokenizer = _keeps_added_tokens(folder.tokenizer(), SPECIAL[kind])
        if tokenizer.get_vocab() != {token: number for number, token in enumerate(vocabulary)}:
            raise PruningError(f"the tokenizer of {path} has another vocabulary than its model")
        return cls(
            tokenizer,
            [vocabulary[number] for number in order],
            head_labels(folder),
            folder.number("max_position_embeddings") - first_position(kind, folder),
            SEPARATORS[kind],
        )

    def __post_init__(self) -> None:
        # Files of tokenizers may say how long inputs are, and pad them.
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        # A sentence that says "[SEP]" does not end there.
        self.tokenizer.encode_special_tokens = True

    @cached_property
    def _numbers(self) -> dict[int, int]:
        """fairseq's, by the tokenizer's own; its texts of added tokens may be lowercased."""
        return {self.tokenizer.token_to_id(token): n for n, token in enumerate(self.tokens)}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """fairseq's numbers of the tokens of each text, without an end."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[self._numbers[number] for number in one.ids] for one in encoded]


def _keeps_added_tokens(tokenizer: Any, special: Sequence[str]) -> Any:
    """A copy in which only the model's own special tokens are special.

    Those may be told apart from text that looks like them. Others that were added, such as marks of
    entities, often call themselves special too, and are one token in a text.
    """
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = token["content"] in special
    return type(tokenizer).from_str(json.dumps(content))
