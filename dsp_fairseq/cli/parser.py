"""The parser of all commands' arguments, and how all of them end."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn

import torch

from ..about import __version__
from ..errors import PruningError, exits_in_one_line
from ..progress import begin_work
from ..user_package import import_package

_READER_GONE = 141
"""What a shell reports of a program that ended by SIGPIPE."""


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, which says in one line what is wrong: the usage would bury it."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        # What is imported is asked for before, by the whole name.
        super().__init__(allow_abbrev=False, **options)
        self.add_argument(
            "--user-dir",
            metavar="DIR",
            help="package that registers model families, estimators, rankings, export formats or "
            "evaluations of its own",
        )
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def add_run_flags(self) -> None:
        """What ``dsp-run`` and ``dsp-sweep`` do first, or instead."""
        self.add_argument(
            "--prepare",
            nargs="?",
            const="",
            metavar="FROM",
            help="first make missing data with the recipe's command; FROM is a folder with the raw "
            "text (Multi30k, IWSLT14, classification; default: the recipe's own, or a download)",
        )
        self.add_argument(
            "--dry-run",
            action="store_true",
            help="print the commands and check their flags; needs no data",
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")


def number(text: str) -> int:
    """The type of an argument that is 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def command(main: Callable[[Sequence[str] | None], None]) -> Callable[..., None]:
    """A command's ``main``: errors end it in one line, a closed pipe ends it quietly."""

    @wraps(main)
    @exits_in_one_line
    def wrapper(argv: Sequence[str] | None = None) -> None:
        begin_work()
        try:
            try:
                _import_user_dir(argv)
                main(argv)
            finally:
                # Here, since Python would report what fails at its own end and exit with 120.
                sys.stdout.flush()
        except torch.cuda.OutOfMemoryError:
            raise PruningError(
                "the GPU has too little free memory: make batches smaller where the command has a "
                "flag for it, or hide the GPU by CUDA_VISIBLE_DEVICES=-1"
            ) from None
        except BrokenPipeError:
            _drop_output()
            raise SystemExit(_READER_GONE) from None
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _drop_output()
            raise PruningError(f"cannot write the output: {error.strerror}") from None

    return wrapper


@contextmanager
def warnings_only() -> Iterator[None]:
    """Inside, fairseq and this package log warnings only."""
    loggers = [logging.getLogger(name) for name in ("fairseq", "dsp_fairseq")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _import_user_dir(argv: Sequence[str] | None) -> None:
    """Before the parser is made: what is registered there may be a choice of a flag."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--user-dir", nargs="?")
    args, _ = parser.parse_known_args(argv)
    if args.user_dir is not None:
        import_package(args.user_dir)


def _drop_output() -> None:
    """What is still buffered for the standard output goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
