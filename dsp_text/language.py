"""Language codes."""

from __future__ import annotations


def without_region(code: str) -> str:
    """Return the language of a code such as fr_FR, as Moses and sacreBLEU know it: fr."""
    return code.lower().partition("_")[0]
