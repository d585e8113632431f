"""The report's page: its Markdown as one HTML file that needs no other."""

from __future__ import annotations

import base64
import html
import logging
import re
from collections.abc import Mapping

from markdown_it import MarkdownIt

# fairseq's import sets the root logger to DEBUG, and the parser then tells of every line.
logging.getLogger("markdown_it").setLevel(logging.WARNING)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{generator}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ margin: 0 auto; max-width: 84rem; padding: 1rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
h1, h2 {{ line-height: 1.25; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.6rem; }}
h2 {{ font-size: 1.25rem; margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid #d0d0d0; }}
h3 {{ font-size: 1.05rem; margin-top: 1.75rem; }}
p, ul, figcaption {{ max-width: 46rem; }}
code {{ font-size: .85em; background: #f2f2f2; padding: .1em .3em; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .55rem; white-space: nowrap; border-bottom: 1px solid #e2e2e2; }}
th {{ border-bottom: 2px solid #808080; }}
th:first-child, td:first-child {{ position: sticky; left: 0; background: #fff; }}
tbody tr:hover td {{ background: #f5f8fb; }}
.scroll {{ overflow-x: auto; }}
.scroll:focus-visible {{ outline: 2px solid #0072b2; outline-offset: 2px; }}
figure {{ margin: 1rem 0 1.5rem; }}
figure img {{ display: block; max-width: 100%; height: auto; }}
figcaption {{ font-size: .875rem; color: #404040; margin-top: .35rem; }}
@media (max-width: 40rem) {{ figure img {{ max-width: none; zoom: .75; }} }}
@media print {{ .scroll {{ overflow: visible; }} }}
</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""
# What is too wide for a small screen scrolls within its box.
_BOX = '<div class="scroll" tabindex="0" role="region" aria-label="{}">\n'


def escape(text: str) -> str:
    """Plain text as Markdown; what stands in `backquotes` stays code.

    Names of runs may hold what Markdown or HTML would take as markup.
    """
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_<>\[\]&#])", r"\\\1", part)
        for part in parts
    )


def to_html(markdown: str, pictures: Mapping[str, bytes], generator: str) -> str:
    """One page that asks for nothing else: styles and pictures are in it, and no script.

    Args:
        markdown: the report; its first block is the title, a heading.
        pictures: the SVG of each ``NAME.png`` that stands alone in a paragraph, by ``NAME``;
            the paragraph after it is its caption.
        generator: the name of the program, for the page's ``<meta name="generator">``.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", _BOX.format("table") + "<table>")
    body = body.replace("</table>", "</table>\n</div>")
    body = re.sub(
        r'<p><img src="([^"]+)\.png" alt="([^"]*)" /></p>\n<p>(.*?)</p>',
        lambda match: _figure(pictures[match[1]], title=match[2], caption=match[3]),
        body,
    )
    title = re.sub("<[^>]*>", "", body.partition("</h1>")[0])
    return _PAGE.format(generator=html.escape(generator), title=title, body=body)


def _figure(svg: bytes, title: str, caption: str) -> str:
    # As an image, so that the names within one drawing cannot meet those of another.
    data = base64.b64encode(svg).decode("ascii")
    return (
        f'<figure>\n{_BOX.format(title)}<img src="data:image/svg+xml;base64,{data}" '
        f'alt="{title}"></div>\n<figcaption>{caption}</figcaption>\n</figure>'
    )
