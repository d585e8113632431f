"""The parser of all commands' arguments."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from ..about import __version__


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, which says in one line what is wrong: the usage would bury it."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")
