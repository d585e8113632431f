"""The parser of all commands' arguments, and how all of them end."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

from ..about import __version__
from ..errors import PruningError, exits_in_one_line

_READER_GONE = 141
"""What a shell reports of a program that ended by SIGPIPE."""


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, which says in one line what is wrong: the usage would bury it."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")


def command(main: Callable[[Sequence[str] | None], None]) -> Callable[..., None]:
    """A command's ``main``: errors end it in one line, a closed pipe ends it quietly."""

    @wraps(main)
    @exits_in_one_line
    def wrapper(argv: Sequence[str] | None = None) -> None:
        try:
            try:
                main(argv)
            finally:
                # Here, since Python would report what fails at its own end and exit with 120.
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            raise SystemExit(_READER_GONE) from None
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _drop_output()
            raise PruningError(f"cannot write the output: {error.strerror}") from None

    return wrapper


def _drop_output() -> None:
    """What is still buffered for the standard output goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
