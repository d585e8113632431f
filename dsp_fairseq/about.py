"""The package's version and place."""

from pathlib import Path

__version__ = "0.1.0"

USER_DIR = Path(__file__).resolve().parent
"""The folder to give as ``--user-dir``."""
