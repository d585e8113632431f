"""A user's own package, given as ``--user-dir`` or by a recipe; imported, it registers parts."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fairseq.utils import import_user_module

from .errors import PruningError, one_line


def import_package(folder: str) -> None:
    """Imports a package once; fairseq's own way, so that both know it under one name.

    Args:
        folder: of the package.

    Raises:
        PruningError: it is not the folder of a package, or its import fails.
    """
    if not (Path(folder) / "__init__.py").is_file():
        raise PruningError(f"--user-dir {folder} is not the folder of a Python package")
    try:
        import_user_module(Namespace(user_dir=folder))
    except PruningError:
        raise
    except Exception as error:  # whatever its code does
        kind = type(error).__name__
        raise PruningError(f"--user-dir {folder}: {kind}: {one_line(error)}") from error
