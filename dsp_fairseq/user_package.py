"""A user's own package, given as ``--user-dir`` or by a recipe; imported, it registers parts."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from traceback import extract_tb

from fairseq.utils import import_user_module

from .errors import PruningError, one_line


def is_package(folder: str) -> bool:
    """Whether there is a package in a folder."""
    return (Path(folder) / "__init__.py").is_file()


def import_package(folder: str) -> None:
    """Imports a package once; fairseq's own way, so that both know it under one name.

    Args:
        folder: of the package.

    Raises:
        PruningError: it is not the folder of a package, or its import fails.
    """
    if not is_package(folder):
        raise PruningError(f"--user-dir {folder} is not the folder of a Python package")
    try:
        import_user_module(Namespace(user_dir=folder))
    except Exception as error:  # whatever its code does
        said = error.msg if isinstance(error, SyntaxError) else one_line(error)
        if not isinstance(error, PruningError):
            said = f"{type(error).__name__}: {said}"
        raise PruningError(f"--user-dir {folder}: {said}{_place(error, folder)}") from error


def _place(error: Exception, folder: str) -> str:
    """Where in the package an error comes from, or nothing."""
    places = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    within = os.path.join(os.path.abspath(folder), "")
    own = [f" ({file}, line {line})" for file, line in places if file.startswith(within)]
    return own[-1] if own else ""
