"""The road from a raw sentence to subword tokens, shared by preparation and encoding.

A sentence passes two stages: `Cleaner` (punctuation, tokens, case) and a subword encoder
that was learnt on the cleaned training text of both languages. `load_encoder` rebuilds
both from a prepared data folder, so that new text takes exactly the same road.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prep_common import PrepError
from sacremoses import MosesPunctNormalizer, MosesTokenizer

FORMAT_VERSION = 1
SETTINGS_FILE = "prep.json"
BPE_CODES = "codes.bpe"
SENTENCEPIECE_MODEL = "spm.model"
SENTENCEPIECE_VOCABULARY = "spm.vocab"
SUBWORD_KINDS = ("bpe", "sentencepiece")

# Settings that came after the first folders were made, with what was done before them.
LATER_SETTINGS = {"normalized": True, "escaped": False, "counts_merges": False}

Transform = Callable[[str], str]

# Everything some reader takes for a line end, besides the newline itself.
_OTHER_LINE_ENDS = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")


class Cleaner:
    """Normalises the punctuation of one language's sentences, then tokenises and lowercases."""

    def __init__(
        self,
        language: str,
        *,
        tokenize: bool,
        lowercase: bool,
        normalize: bool = True,
        escape: bool = False,
    ) -> None:
        self._normalizer = MosesPunctNormalizer(lang=language) if normalize else None
        self._tokenizer = MosesTokenizer(lang=language) if tokenize else None
        self._lowercase = lowercase
        self._escape = escape

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], side: str) -> Cleaner:
        """Return the cleaner that a prep.json's settings name for the source or target."""
        return cls(
            settings[side],
            tokenize=settings["tokenized"],
            lowercase=settings["lowercase"],
            normalize=settings["normalized"],
            escape=settings["escaped"],
        )

    def __call__(self, sentence: str) -> str:
        """Return the cleaned sentence, its words separated by single spaces."""
        text = sentence
        if self._normalizer is not None:
            text = self._normalizer.normalize(text)
        if self._tokenizer is not None:
            # Unescaped by default: a detokeniser then sees the very characters of the text.
            text = self._tokenizer.tokenize(text, escape=self._escape, return_str=True)
        # The tokeniser knows abbreviations by their case, so case goes last.
        return " ".join((text.lower() if self._lowercase else text).split())


def decode_lines(
    lines: Iterable[bytes], name: object, *, allow_empty: bool = False
) -> Iterator[str]:
    """Yield the sentences of a UTF-8 file, where nothing but a newline ends a line."""
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise PrepError(
                f"{name}, line {number}: not valid UTF-8; convert the file to UTF-8"
            ) from error
        sentence = _OTHER_LINE_ENDS.sub(" ", line.removesuffix("\n").removesuffix("\r"))
        if not allow_empty and not sentence.strip():
            raise PrepError(f"{name}, line {number}: empty; remove it (from both languages)")
        yield sentence


def apply_step(sentences: Iterable[str], name: object, transform: Transform) -> Iterator[str]:
    """Yield every sentence transformed; none may come out empty."""
    for number, sentence in enumerate(sentences, start=1):
        result = transform(sentence)
        if not result:
            raise PrepError(
                f"{name}, line {number}: nothing printable; remove it (from both languages)"
            )
        yield result


def learn_subwords(
    kind: str,
    sentences: Iterable[str],
    vocab_size: int,
    folder: Path,
    *,
    counts_merges: bool = False,
) -> None:
    """Learn a subword model of about `vocab_size` symbols and write it into `folder`.

    With `counts_merges`, `vocab_size` counts the merges of BPE, and characters come on top.
    """
    try:
        if kind == "bpe":
            _learn_bpe(sentences, vocab_size, folder, total_symbols=not counts_merges)
        else:
            _learn_sentencepiece(sentences, vocab_size, folder)
    except (RuntimeError, ValueError) as error:
        raise PrepError(
            f"cannot learn {vocab_size} {kind} symbols from this training text ({error}); "
            "give another --vocab-size or more text"
        ) from error


def load_subwords(kind: str, folder: Path) -> Transform:
    """Return the encoder of the subword model that `learn_subwords` wrote into `folder`."""
    return _load_bpe(folder) if kind == "bpe" else _load_sentencepiece(folder)


def read_settings(data_dir: Path) -> dict[str, Any]:
    """Read the prep.json of a prepared data folder."""
    path = data_dir / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise PrepError(
            f"{data_dir} holds no {SETTINGS_FILE}; give a folder made by prepare_text.py"
        ) from None
    except ValueError as error:
        raise PrepError(f"{path} is not valid JSON; prepare the data again") from error
    if not isinstance(settings, dict) or settings.get("format_version") != FORMAT_VERSION:
        raise PrepError(f"{path} is not of format version {FORMAT_VERSION}; prepare the data again")
    return LATER_SETTINGS | settings


def load_encoder(data_dir: Path, side: str = "source") -> Transform:
    """Return what turned the raw sentences of one side into the tokens of `data_dir`."""
    settings = read_settings(data_dir)
    try:
        clean = Cleaner.from_settings(settings, side)
        split = load_subwords(settings["subword"], data_dir)
    except KeyError as error:
        path = data_dir / SETTINGS_FILE
        raise PrepError(f"{path} lacks {error}; prepare the data again") from error
    return lambda sentence: split(clean(sentence))


def _learn_bpe(
    sentences: Iterable[str], vocab_size: int, folder: Path, *, total_symbols: bool
) -> None:
    from subword_nmt.learn_bpe import learn_bpe

    with (folder / BPE_CODES).open("w", encoding="utf-8", newline="\n") as codes, _chatter_off():
        learn_bpe(sentences, codes, vocab_size, total_symbols=total_symbols)
    # After the version there is a line a merge; subword-nmt itself would end in the next step.
    if (folder / BPE_CODES).read_text(encoding="utf-8").count("\n") < 2:
        raise ValueError("no two characters stand together twice")


def _load_bpe(folder: Path) -> Transform:
    from subword_nmt.apply_bpe import BPE

    with (folder / BPE_CODES).open(encoding="utf-8", newline="\n") as codes:
        return BPE(codes).segment


def _learn_sentencepiece(sentences: Iterable[str], vocab_size: int, folder: Path) -> None:
    import sentencepiece

    model = io.BytesIO()
    # One thread and the text in its own order make the model the same every time, and so
    # does the writer: given a file name, the model would record it.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        shuffle_input_sentence=False,
        num_threads=1,
        minloglevel=2,
    )
    (folder / SENTENCEPIECE_MODEL).write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    rows = (f"{pieces.id_to_piece(i)}\t{pieces.get_score(i):g}\n" for i in range(len(pieces)))
    (folder / SENTENCEPIECE_VOCABULARY).write_text("".join(rows), encoding="utf-8")


def _load_sentencepiece(folder: Path) -> Transform:
    import sentencepiece

    # Read here, as the library's own error for a missing file is no OSError.
    model = sentencepiece.SentencePieceProcessor(
        model_proto=(folder / SENTENCEPIECE_MODEL).read_bytes()
    )
    return lambda sentence: " ".join(model.encode(sentence, out_type=str))


def _chatter_off() -> contextlib.AbstractContextManager[object]:
    """Keep the learner's progress bar for a terminal, and its remarks out of a log."""
    if sys.stderr.isatty():
        return contextlib.nullcontext()
    return contextlib.redirect_stderr(io.StringIO())
