"""Subword models: learning, loading, and joining what they split."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from .errors import TextError
from .language import without_region

KINDS = ("bpe", "sentencepiece")
BPE_CODES = "codes.bpe"
SENTENCEPIECE_MODEL = "spm.model"
SENTENCEPIECE_VOCABULARY = "spm.vocab"

Transform = Callable[[str], str]

_WIDE = ("zh", "ja")

SYMBOLS = ("<s>", "<pad>", "</s>", "<unk>")
"""What fairseq's dictionaries have for the ends of a sentence, padding and unknown tokens."""


def learn_subwords(
    kind: str,
    sentences: Iterable[str],
    vocab_size: int,
    folder: Path,
    *,
    counts_merges: bool = False,
    languages: Iterable[str] = (),
) -> None:
    """Learn a subword model of about `vocab_size` symbols and write it into `folder`.

    SentencePiece brings characters to one form (NFKC), unless one of the `languages` is Chinese or
    Japanese: their full-width punctuation would become that of Latin letters.

    With `counts_merges`, `vocab_size` counts the merges of BPE, and characters come on top.

    Raises TextError where the text is not enough for so many.
    """
    try:
        if kind == "bpe":
            _learn_bpe(sentences, vocab_size, folder, total_symbols=not counts_merges)
        else:
            wide = any(without_region(code) in _WIDE for code in languages)
            _learn_sentencepiece(sentences, vocab_size, folder, "identity" if wide else "nmt_nfkc")
    except (RuntimeError, ValueError) as error:
        raise TextError(
            f"cannot learn {vocab_size} {kind} symbols from this training text ({error}); "
            "give another --vocab-size or more text"
        ) from error


def load_subwords(kind: str, folder: Path) -> Transform:
    """Return the encoder of the subword model that `learn_subwords` wrote into `folder`."""
    return _load_bpe(folder) if kind == "bpe" else _load_sentencepiece(folder)


def join_subwords(kind: str) -> Transform:
    """Return what turns subword tokens into words again; it leaves whole words as they are."""
    if kind == "sentencepiece":
        return lambda line: (
            line.replace(" ", "").replace("\u2581", " ").strip() if "\u2581" in line else line
        )
    return lambda line: (line + " ").replace("@@ ", "").rstrip()


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
        segment = BPE(codes).segment
    return lambda sentence: " ".join(map(_plain_token, segment(sentence).split(" ")))


def _plain_token(token: str) -> str:
    """A token in two, if fairseq would take it for a symbol of its own."""
    return f"{token[0]}@@ {token[1:]}" if token in SYMBOLS else token


def _learn_sentencepiece(
    sentences: Iterable[str], vocab_size: int, folder: Path, normalization: str
) -> None:
    import sentencepiece

    model = io.BytesIO()
    # One thread and the text in its own order make the model the same every time, and so
    # does the writer: given a file name, the model would record it.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        normalization_rule_name=normalization,
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
