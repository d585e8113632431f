"""Writes a miniature of the IWSLT14 German-English archive, laid out as the real one."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

Pair = tuple[str, str]

TESTS = (
    "IWSLT14.TED.dev2010",
    "IWSLT14.TEDX.dev2012",
    "IWSLT14.TED.tst2010",
    "IWSLT14.TED.tst2011",
    "IWSLT14.TED.tst2012",
)
TALK = 20
"""Sentences of a talk."""


def write_miniature(folder: Path, train: Sequence[Pair], tests: Sequence[Sequence[Pair]]) -> None:
    """Write the files into a new folder: training talks, and one talk of each test."""
    folder.mkdir(parents=True)
    (folder / "README").write_text("A miniature.\n")
    for side, code in enumerate(("de", "en")):
        talks = [train[start : start + TALK] for start in range(0, len(train), TALK)]
        text = "".join(_training_talk(number, talk, side) for number, talk in enumerate(talks))
        (folder / f"train.tags.de-en.{code}").write_text(text, encoding="utf-8")
        for name, talk in zip(TESTS, tests, strict=True):
            xml = _test_talk(name, talk, side)
            (folder / f"{name}.de-en.{code}.xml").write_text(xml, encoding="utf-8")


def titles(number: int) -> list[Pair]:
    """The title and the description of a training talk, which are text to learn from."""
    return [
        (f"Vortrag Nummer {number}", f"Talk number {number}"),
        (f"TED Vortrag: Hier spricht Redner {number} .", f"TED Talk: Speaker {number} talks here."),
    ]


def write_archive(folder: Path, archive: Path) -> None:
    """Pack a folder as the real archive is packed."""
    with tarfile.open(archive, "w:gz") as members:
        members.add(folder, "de-en")


def _training_talk(number: int, talk: Sequence[Pair], side: int) -> str:
    title, description = (pair[side] for pair in titles(number))
    lines = [
        f"<url>http://www.ted.com/talks/lang/{number}.html</url>",
        "<keywords>talks, science</keywords>",
        f"<talkid>{number}</talkid>",
        f"<title>{title}</title>",
        f"<description>{description}</description>",
        *(f" {pair[side]} " for pair in talk),
    ]
    return "".join(f"{line}\n" for line in lines)


def _test_talk(name: str, talk: Sequence[Pair], side: int) -> str:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<mteval>",
        f'<srcset setid="{name}" srclang="german">',
        '<doc docid="69" genre="lectures">',
        "<url>http://www.ted.com/talks/69.html</url>",
        "<description>Not to be tested.</description>",
        "<keywords>film</keywords>",
        "<talkid>69</talkid>",
        "<title>Not to be tested either</title>",
        *(f'<seg id="{i}"> {pair[side]} </seg>' for i, pair in enumerate(talk, start=1)),
        "</doc>",
        "</srcset>",
        "</mteval>",
    ]
    return "".join(f"{line}\n" for line in lines)
