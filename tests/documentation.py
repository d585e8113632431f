"""What the pages of the documentation tell a reader to run."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

logging.getLogger("markdown_it").setLevel(logging.INFO)  # It tells every rule that it tries.

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
_INDENTED = r"(?:bash|python|pip|source|echo|torchrun|fairseq-\S+|dsp-\S+) "
_SPAN = r"(?:bash|python|dsp-\S+) [^-\s]"
"""How a command begins in an indented block, and in the text: there, flags alone are no command."""


def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))


def blocks(page: str, language: str = "bash", section: str | None = None) -> list[str]:
    """The code blocks of one language, of a whole page or of the section with this heading.

    Indented blocks, which name no language, are of ``bash`` if they begin with a command.
    """
    found, heading, tokens = [], "", _tokens(page)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            heading = token.content
        if token.type == "fence":
            kind = token.info
        elif token.type == "code_block":
            kind = "bash" if re.match(_INDENTED, token.content) else ""
        else:
            continue
        if kind == language and section in (None, heading):
            found.append(token.content)
    return found


def split_commands(text: str) -> list[str]:
    """Single commands, each on one line, without comments."""
    joined = re.sub(r"\\\n|(?<=\|)\n", " ", text)
    bare = (re.sub(r"(^|\s)#( .*|$)", "", line) for line in joined.splitlines())
    return [" ".join(line.split()) for line in bare if line.strip()]


def _spans(page: str) -> Iterator[str]:
    for token in _tokens(page):
        for child in token.children or ():
            if child.type == "code_inline" and re.match(_SPAN, child.content):
                yield child.content


def commands(page: str, section: str | None = None) -> list[str]:
    """Every command of a page, in code blocks and, without a section, in its text."""
    found = [line for block in blocks(page, "bash", section) for line in split_commands(block)]
    return found + ([] if section else [span for span in _spans(page) if span not in found])
