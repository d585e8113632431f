"""Raw text files: what ends a line, and what no file may be."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from raw_text import check_halves, check_raw, decode_lines, read_lines

from dsp_text.errors import TextError

TEXT = "Eins.\nZwei?\n\u00a0\nKäse.\n"


def test_only_a_newline_ends_a_line():
    text = "eins\u2028zwei\x85drei\rvier\x1cfünf\r\nsechs\n".encode()
    assert len(text.splitlines()) == 3, "bytes split at the lone carriage return"
    decoded = list(decode_lines(iter(text.split(b"\n")[:-1]), "x"))
    assert decoded == [("x, line 1", "eins zwei drei vier fünf"), ("x, line 2", "sechs")]


def test_gzip_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    plain, zipped = tmp_path / "a", tmp_path / "a.gz"
    plain.write_bytes(TEXT.encode())
    zipped.write_bytes(gzip.compress(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()))
    first, second = (list(read_lines(path, "a")) for path in (plain, zipped))
    assert first == second
    assert [place for place, _ in first] == [f"a, line {number}" for number in (1, 2, 3, 4)]
    assert "".join(f"{line}\n" for _, line in first) == TEXT
    assert check_raw(plain).lines == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "a has no lines; give a file with text"),
        ("a", TEXT.encode() + "Käse.\n".encode("latin-1"), "a, line 5: not valid UTF-8"),
        ("a", TEXT.encode("utf-16"), "a, line 1: not valid UTF-8"),
        ("a.gz", gzip.compress(TEXT.encode() * 99)[:-20], "a.gz is not a whole gzip file"),
        ("a.gz", TEXT.encode(), "a.gz is not a whole gzip file"),
        ("a", gzip.compress(TEXT.encode()), "a is compressed by gzip: unpack it"),
        ("a.xz", lzma.compress(TEXT.encode()), "a.xz is compressed by xz: unpack it"),
        ("a.bz2", bz2.compress(TEXT.encode()), "a.bz2 is compressed by bzip2: unpack it"),
    ],
    # The time stands in a gzip file, and the names of tests must not.
    ids=["empty", "latin-1", "utf-16", "cut off", "not zipped", "gzip", "xz", "bzip2"],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError) as refusal:
        check_raw(tmp_path / name)
    assert message in str(refusal.value)


def test_halves_have_to_match_line_by_line(tmp_path):
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(TEXT.encode())
    assert [half.lines for half in check_halves(paths, 4)] == [4, 4]
    with pytest.raises(TextError, match=r"a has 4 lines where 5 were expected; give the right"):
        check_halves(paths, 5)
    paths[1].write_bytes(TEXT.encode() + b"Noch einer.\n")
    with pytest.raises(TextError, match=r"a has 4 lines but .*b has 5; give files that match"):
        check_halves(paths)
