"""A report as blocks, and the two ways to write it: Markdown, and one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .figures import Picture


@dataclass(frozen=True)
class Heading:
    """A title of level 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text; what stands in `backquotes` is set as code."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of plain texts."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells of plain text under a header.

    Attributes:
        header: one title a column.
        rows: the cells.
        left: the columns that hold words; numbers go to the right.
        beside: columns that repeat the dense model's value, written fainter on the page.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: frozenset[int] = field(default_factory=frozenset)
    beside: frozenset[int] = field(default_factory=frozenset)


Block = Heading | Paragraph | Items | Table | Picture


# ---- Markdown


def to_markdown(blocks: Sequence[Block]) -> str:
    """GitHub's Markdown; pictures are files beside it."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_escape_markdown(block.text)}"
    if isinstance(block, Paragraph):
        return _escape_markdown(block.text)
    if isinstance(block, Items):
        return "\n".join(f"- {_escape_markdown(text)}" for text in block.texts)
    if isinstance(block, Picture):
        return (
            f"![{_escape_markdown(block.title)}]({block.name}.png)\n\n"
            f"{_escape_markdown(block.caption)} (`{block.name}.svg`)"
        )
    rules = [":---" if i in block.left else "---:" for i in range(len(block.header))]
    rows = [block.header, *block.rows]
    cells = [[_escape_markdown(cell).replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], rules, *cells[1:]])


def _escape_markdown(text: str) -> str:
    """Names of runs may hold what Markdown or HTML would take as markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_<>\[\]])", r"\\\1", part) for part in parts
    )


# ---- HTML

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; background: #fff; color: #1a1a1a;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
     border-top: 1px solid #d0d0d0; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.25rem; }
code { font-size: .85em; background: #f2f2f2; padding: .1em .3em; border-radius: 3px;
       overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .75rem 0; -webkit-overflow-scrolling: touch; }
.scroll:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .55rem; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #e2e2e2; }
th { border-bottom: 2px solid #808080; vertical-align: bottom; font-weight: 600; }
.left { text-align: left; }
.beside { color: #595959; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
tbody tr:hover td { background: #f5f8fb; }
figure { margin: 1rem 0 1.5rem; }
figure img { display: block; width: 100%; max-width: var(--width); height: auto; }
figcaption { max-width: 46rem; font-size: .875rem; color: #404040; margin-top: .35rem; }
@media (max-width: 40rem) {
  body { padding: .75rem; }
  .wide img { width: calc(.75 * var(--width)); max-width: none; }
}
@media print { .scroll { overflow: visible; } }
"""


def to_html(blocks: Sequence[Block], pictures: Mapping[str, bytes], generator: str) -> str:
    """One page that asks for nothing else: styles and pictures are in it, and no script.

    Args:
        blocks: the report; the first heading is the page's title.
        pictures: the SVG of each picture by its name.
        generator: the name of the program, for the page's ``<meta name="generator">``.
    """
    title = next(block.text for block in blocks if isinstance(block, Heading))
    body = "\n".join(_html(block, pictures) for block in blocks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{html.escape(generator)}">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _html(block: Block, pictures: Mapping[str, bytes]) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{_text(block.text)}</p>"
    if isinstance(block, Items):
        return "<ul>\n" + "\n".join(f"<li>{_text(text)}</li>" for text in block.texts) + "\n</ul>"
    if isinstance(block, Picture):
        return _figure(block, pictures[block.name])
    return _table(block)


def _text(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _figure(picture: Picture, svg: bytes) -> str:
    # As an image, so that the names within one drawing cannot meet those of another.
    data = base64.b64encode(svg).decode("ascii")
    width, height = (round(96 * inches) for inches in picture.figure.get_size_inches())
    return (
        f'<figure>\n<div class="scroll wide" tabindex="0" role="region" '
        f'aria-label="{html.escape(picture.title)}">'
        f'<img src="data:image/svg+xml;base64,{data}" width="{width}" height="{height}" '
        f'style="--width: {width}px" alt="{html.escape(picture.title)}"></div>\n'
        f"<figcaption>{_text(picture.caption)}</figcaption>\n</figure>"
    )


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        written = []
        for i, cell in enumerate(cells):
            names = [
                name for name, at in (("left", table.left), ("beside", table.beside)) if i in at
            ]
            kind = f' class="{" ".join(names)}"' if names else ""
            scope = ' scope="col"' if tag == "th" else ""
            written.append(f"<{tag}{scope}{kind}>{_text(cell)}</{tag}>")
        return f"<tr>{''.join(written)}</tr>"

    rows = "\n".join(row(cells, "td") for cells in table.rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">\n<table>\n'
        f"<thead>{row(table.header, 'th')}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )
