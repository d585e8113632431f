"""The page: one file, with the same content as the Markdown."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

from report_helpers import table_rows

from dsp_fairseq.report.columns import Column, table
from dsp_fairseq.report.page import escape, to_html


class _Page(HTMLParser):
    """Checks that tags close in order, and collects what the page asks for."""

    EMPTY = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asks: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.asks += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _parse(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    assert page.open == []
    return page


def test_the_page_needs_nothing_else(written):
    text = (written[1] / "report.html").read_text()
    page = _parse(text)
    assert all(value.startswith("data:") for value in page.asks)
    assert not re.search(r"url\(|@import|<script|https?:", text)
    drawn = [base64.b64decode(v.partition("base64,")[2]) for v in page.asks if "svg" in v]
    assert sorted(drawn) == sorted(path.read_bytes() for path in written[1].glob("*.svg"))
    assert page.tags.count("table") == 3
    assert '<meta name="viewport"' in text


def test_page_and_markdown_hold_the_same_tables(written):
    text = (written[1] / "report.md").read_text()
    page = (written[1] / "report.html").read_text()
    for row in table_rows(text, "minutes"):
        for cells in row.values():
            assert f">{cells[0]}</td>" in page


def test_names_are_escaped():
    name = '<script>alert("x")</script>|a_b*c'
    cells = table([Column("h", str)], [name])
    markdown = f"# {escape(name)}\n\n{escape(f'{name} `a<b`')}\n\n{cells}\n"
    page = to_html(markdown, {}, "x")
    assert "<script" not in page
    _parse(page)
    assert "<code>a&lt;b</code>" in page
    assert page.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;|a_b*c") == 4
    assert r"| \<script\>alert(" in markdown
    assert r"\|a\_b\*c |" in markdown
    assert "`a<b`" in markdown


def test_figures_stand_in_the_page_with_their_captions():
    picture = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    page = to_html("# t\n\n![a \\<b\\>](x-1.png)\n\nHow to `read` it.\n", {"x-1": picture}, "me")
    data = base64.b64encode(picture).decode()
    assert f'<img src="data:image/svg+xml;base64,{data}" alt="a &lt;b&gt;">' in page
    assert "<figcaption>How to <code>read</code> it.</figcaption>\n</figure>" in page
    assert "x-1.png" not in page
    assert '<meta name="generator" content="me">' in page and "<title>t</title>" in page
    _parse(page)
