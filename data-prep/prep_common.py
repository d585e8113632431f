"""What every data-prep command shares: option parsing, one-line errors, all-or-nothing folders."""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from dsp_text.errors import TextError

EXIT_REFUSED = 2


class CommandParser(argparse.ArgumentParser):
    """An argument parser that keeps help examples as written and errors on one line."""

    def __init__(self, **options: object) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Exit with the message alone: the usage block would bury it."""
        self.exit(EXIT_REFUSED, f"{self.prog}: error: {message}; see --help\n")


def positive_int(text: str) -> int:
    """Parse an option value that must be a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def run_command(main: Callable[[Sequence[str] | None], None]) -> NoReturn:
    """Run a command's main as a program: one-line errors, clean-up on every signal."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup the hang-up signal is ignored, and has to stay so.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit_on_signal)
    prog = Path(sys.argv[0]).name
    # File names need not be UTF-8.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    try:
        main(None)
        sys.stdout.flush()
    except TextError as error:
        _quit(f"{prog}: error: {error}", EXIT_REFUSED)
    except BrokenPipeError:
        # The reader has gone; stdout must not be flushed into it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _quit(f"{prog}: error: {where}{error.strerror or error}", EXIT_REFUSED)
    except KeyboardInterrupt:
        _quit(f"{prog}: interrupted", 128 + signal.SIGINT)
    sys.exit(0)


@contextlib.contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Yield a hidden sibling of `out` that takes its name on success and goes on failure."""
    require_new(out)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.*.partial")):
        step(f"note: {left} is of a preparation that was killed, or is still going on")
    staging = out.parent / f".{out.name}.{secrets.token_hex(4)}.partial"
    staging.mkdir()
    try:
        yield staging
        # A plain rename would replace an empty folder made here in the meantime.
        require_new(out)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_new(out: Path) -> None:
    """Refuse an output path that is already taken, be it by a broken link."""
    if os.path.lexists(out):
        raise TextError(f"{out} exists; remove it or give another --out")


def step(message: str) -> None:
    """Tell the user which step runs now."""
    print(message, flush=True)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    # As an exception, so that the `finally` clauses on the way out clean up.
    sys.exit(128 + number)


def _quit(message: str, status: int) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)
