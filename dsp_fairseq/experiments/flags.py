"""Flags of a recipe as a command line has them, and as fairseq parses them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from fairseq import options

from ..errors import CommandExit, PruningError
from .recipe import Recipe

_FROM_PACKAGES = tuple(
    f"argument --{name}" for name in ("gate-estimator", "arch", "task", "criterion", "optimizer")
)
"""How complaints about what a user's own package may add begin."""


def arguments_of(flags: Mapping[str, Any]) -> list[str]:
    """Flags as a command line has them."""
    words: list[str] = []
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words += [f"--{name}", str(value)]
    return words


def given_flags(flags: Mapping[str, Any]) -> set[str]:
    """The names of the flags that a command line gets; false leaves one out."""
    return {name for name, value in flags.items() if value is not False}


def parse(recipe: Recipe, name: str, parser: Any, words: Sequence[str]) -> Any:
    """Parses the flags of ``train`` or ``generate`` as fairseq does.

    Raises:
        PruningError: fairseq refuses them, or a flag that is false is on without it.
    """
    errors, command = io.StringIO(), f"recipe {recipe.name}, fairseq-{name}"
    try:
        with contextlib.redirect_stderr(errors):
            args = options.parse_args_and_arch(parser, words)
    except CommandExit as end:
        raise end.error from None
    except SystemExit:
        last = (errors.getvalue().strip().splitlines() or ["it does not parse"])[-1]
        said = last.partition("error: ")[2] or last
        if "invalid choice" in said and said.startswith(_FROM_PACKAGES):
            said += ", or give the package that has it by --user-dir"
        raise PruningError(f"{command}: {said}") from None
    for flag, value in getattr(recipe, name).items():
        if value is False and getattr(args, flag.replace("-", "_"), None) is True:
            raise PruningError(
                f"{command}: '{flag}: false' leaves the flag out, and then it is on; fairseq's "
                f"--{flag} turns it off: write '{flag}: true'"
            )
    return args
