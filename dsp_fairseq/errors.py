"""The errors of this package, and how they end a command in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class PruningError(Exception):
    """A mistake in flags, files or their combination; its message says what to do, in one line."""

    def __init__(self, message: str) -> None:
        # It may quote another library, whose messages have several lines.
        self.message = " ".join(line.strip() for line in message.splitlines())
        super().__init__(self.message)


class NotFiniteError(PruningError):
    """Training met a number that is not finite; what it would save now is worth nothing."""


class CommandExit(SystemExit):
    """A :class:`PruningError` on its way out of a command: one line, exit status 1."""

    def __init__(self, error: PruningError) -> None:
        super().__init__(f"dsp_fairseq: error: {error.message}")
        self.error = error


def exits_in_one_line(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Turns a :class:`PruningError` of this function into a :class:`CommandExit`.

    For the ``main`` of a command, and for what fairseq's commands call: they print a traceback of
    an exception, or go on after it (loading a checkpoint).
    """

    @wraps(function)
    def wrapper(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except PruningError as error:
            raise CommandExit(error) from error

    return wrapper


@contextmanager
def importing(package: str, install: str | None = None) -> Iterator[None]:
    """Around the import of a package that not every user has.

    Args:
        package: its name.
        install: what ``pip install`` takes (default: the name).

    Raises:
        PruningError: it cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise PruningError(
            f"{package} cannot be imported ({error}): pip install {install or package}"
        ) from None


def refuse_taken(registry: Mapping[str, Any], name: str, what: str) -> None:
    """Refuses a name that is registered already: what it stands for would be lost.

    Args:
        registry: by name; what is None there does not count.
        name: the new one.
        what: such as ``ranking``.

    Raises:
        PruningError: the name is taken.
    """
    if registry.get(name) is not None:
        raise PruningError(f"the {what} {name!r} is there already: register yours by another name")


def shortened(items: Sequence[str], most: int = 1) -> str:
    """The first items of a list, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def one_line(error: BaseException) -> str:
    """The last line of an error's message; its type where there is none."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).removeprefix("dsp_fairseq: error: ")
