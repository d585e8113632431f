"""A folder of Hugging Face's transformers: config.json, model.safetensors and a vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import PruningError, importing
from ..files import read_text

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
_TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True)
class PretrainedFolder:
    """What a folder holds.

    Attributes:
        path: the folder.
        config: the content of config.json.
    """

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> PretrainedFolder:
        """Reads the configuration; the weights may be large.

        Raises:
            PruningError: no folder, or one without a configuration or weights that can be read.
        """
        if not path.is_dir():
            raise PruningError(
                f"{path} is not a folder: give one with {CONFIG} and {WEIGHTS}, as save_pretrained "
                "of Hugging Face's transformers writes it"
            )
        config = _json(path / CONFIG)
        if not isinstance(config, dict):
            raise PruningError(f"{path / CONFIG} is damaged: it holds no object")
        if not (path / WEIGHTS).is_file():
            raise PruningError(_no_weights(path))
        return cls(path, config)

    def number(self, name: str) -> int:
        """A size in the configuration.

        Raises:
            PruningError: it is missing, or no positive number.
        """
        value = self.config.get(name)
        if not isinstance(value, int) or value < 1:
            raise PruningError(f"{self.path / CONFIG} has no valid {name}: {value!r}")
        return value

    def share(self, name: str, default: float) -> float:
        """A number from 0 to 1 in the configuration.

        Raises:
            PruningError: it is something else.
        """
        value = self.config.get(name, default)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise PruningError(f"{self.path / CONFIG} has no valid {name}: {value!r}")
        return float(value)

    def tensors(self, prefixes: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
        """The weights in float32, by their names without that of the model before them.

        Args:
            prefixes: of the names; others are not read.

        Raises:
            PruningError: the package safetensors is missing, or the file is damaged.
        """
        with importing("safetensors", "'dsp-fairseq[nli]'"):
            from safetensors import SafetensorError, safe_open
        model = f"{self.config.get('model_type')}."
        found = {}
        try:
            with safe_open(self.path / WEIGHTS, "pt") as file:
                for stored in file.keys():  # noqa: SIM118
                    name = _present_name(stored.removeprefix(model))
                    if name.startswith(prefixes):
                        tensor = file.get_tensor(stored)
                        found[name] = tensor.float() if tensor.is_floating_point() else tensor
        except (SafetensorError, OSError) as error:
            raise PruningError(f"cannot read {self.path / WEIGHTS}: {error}") from None
        return found

    def vocabulary(self) -> list[str]:
        """The tokens, in the order of their numbers.

        Tokens that were added to a model may be in ``tokenizer.json`` alone.

        Raises:
            PruningError: there is none, its numbers leave gaps, or two files contradict each other.
        """
        paths = [path for name in _VOCABULARIES if (path := self.path / name).is_file()]
        if not paths:
            raise PruningError(f"{self.path} has no vocabulary: {' or '.join(_VOCABULARIES)}")
        tokens = _tokens_of(paths[0])
        for other in paths[1:]:
            found = _tokens_of(other)
            if found != tokens[: len(found)]:
                raise PruningError(
                    f"{paths[0]} and {other.name} are of different models: remove the one that is "
                    "not this model's"
                )
        return tokens

    def tokenizer(self) -> Any:
        """The tokenizer, of the library ``tokenizers``.

        Raises:
            PruningError: the package tokenizers is missing; there is no tokenizer, or a bad one.
        """
        with importing("tokenizers", "'dsp-fairseq[nli]'"):
            from tokenizers import (
                BertWordPieceTokenizer,
                ByteLevelBPETokenizer,
                Tokenizer,
                processors,
            )
        whole, words, numbers, merges = (self.path / name for name in _TOKENIZERS)
        said = self.path / _TOKENIZER_CONFIG
        said = _json(said) if said.is_file() else {}
        try:
            if whole.is_file():
                return Tokenizer.from_file(str(whole))
            if words.is_file():
                vocabulary = {token: number for number, token in enumerate(self.vocabulary())}
                return BertWordPieceTokenizer(
                    vocabulary,
                    lowercase=said.get("do_lower_case", True),
                    strip_accents=said.get("strip_accents"),
                    handle_chinese_chars=said.get("tokenize_chinese_chars", True),
                )._tokenizer
            if numbers.is_file() and merges.is_file():
                space = said.get("add_prefix_space", False)
                own = ByteLevelBPETokenizer(
                    str(numbers), str(merges), add_prefix_space=space
                )._tokenizer
                last, first = ((token, own.token_to_id(token)) for token in ("</s>", "<s>"))
                own.post_processor = processors.RobertaProcessing(
                    last, first, add_prefix_space=space
                )
                return own
        except Exception as error:  # The library raises nothing narrower.
            raise PruningError(
                f"the tokenizer of {self.path} cannot be read: {' '.join(str(error).split())}"
            ) from None
        raise PruningError(
            f"{self.path} has no tokenizer: tokenizer.json, vocab.txt, or vocab.json and merges.txt"
        )


def _tokens_of(path: Path) -> list[str]:
    """The tokens in a file of a vocabulary, in the order of their numbers."""
    if path.suffix == ".txt":
        tokens = read_text(path).split("\n")
        return tokens[:-1] if tokens[-1] == "" else tokens
    content = _json(path)
    try:
        if path.name == "tokenizer.json":
            added = {token["content"]: token["id"] for token in content["added_tokens"]}
            content = {**content["model"]["vocab"], **added}
        numbers = {int(number): str(token) for token, number in content.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PruningError(f"{path} holds no vocabulary of tokens: {error!r}") from None
    if sorted(numbers) != list(range(len(content))):
        raise PruningError(f"{path} is damaged: the numbers of its tokens leave gaps")
    return [numbers[number] for number in range(len(numbers))]


def _present_name(name: str) -> str:
    """Files of older versions name the weights of layer norms otherwise."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _no_weights(path: Path) -> str:
    if (path / f"{WEIGHTS}.index.json").is_file():
        return f"{path} has its weights in several files: save them in one, {WEIGHTS}"
    if any(path.glob("*.bin")):
        return (
            f"{path} has its weights in a pickle, which can run code: save them as {WEIGHTS}, by "
            "save_pretrained(FOLDER, safe_serialization=True)"
        )
    return f"{path} has no {WEIGHTS}"


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise PruningError(f"{path} is not JSON: {error}") from None
