"""fairseq-generate's output: one whole run, unchanged, or a refusal that names the line."""

from __future__ import annotations

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.evaluation.generated import read_generated, read_output

LINES = [
    "2026-01-01 | INFO | fairseq_cli.generate | loading",
    *("S-1\tx y", "T-1\tthe second", "H-1\t-0.5\ta second", "D-1\t-0.5\ta second", "P-1\t-0.5"),
    *("H-1\t-0.9\tsecond best", "D-1\t-0.9\tsecond best", "P-1\t-0.9"),
    *("S-0\tx", "T-0\tthe first", "H-0\t-0.1\t", "D-0\t-0.1\t", "P-0\t-0.1"),
    "Generate test with beam=5: BLEU4 = 0.00",
]
TEXT = "".join(f"{line}\n" for line in LINES)


@pytest.fixture
def write(tmp_path):
    def write_text(text, encoding="utf-8"):
        path = tmp_path / "test.out"
        path.write_bytes(text.encode(encoding))
        return path

    return write_text


@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n")])
def test_the_best_hypotheses_come_in_the_order_of_the_data(write, change):
    path = write(change(TEXT))
    assert read_generated(path) == (["", "a second"], ["the first", "the second"])
    output = read_output(path)
    assert output.numbers == [0, 1]
    assert [text.line for text in output.references] == [11, 3]


def test_order_within_a_sentence_and_other_lines_do_not_matter(write):
    lines = sorted(LINES)
    assert read_generated(write("".join(f"{line}\n" for line in lines)))[1][0] == "the first"
    kept = [line for line in LINES if line[0] in "TH"]
    assert read_generated(write("".join(f"{line}\n" for line in kept)))[0] == ["", "a second"]


def drop(*dropped):
    return "".join(f"{line}\n" for line in LINES if line not in dropped)


REFUSED = {
    "two runs": (TEXT + TEXT, "line 18: T-1 is also in line 3"),
    "two runs, of other data": (TEXT + TEXT.replace("the", "a"), "line 18: T-1 is also in line 3"),
    "two runs, the second without references": (
        TEXT + drop("T-0\tthe first", "T-1\tthe second"),
        "line 18: H-1 is also in line 4",
    ),
    "a reference twice": (TEXT + "T-0\tthe third\n", "line 16: T-0 is also in line 11"),
    "the end cut off in a hypothesis": (TEXT[: TEXT.index("second best") + 3], "line 7 is cut off"),
    "the end cut off in a reference": (TEXT[: TEXT.index("T-0") + 8], "line 11 is cut off"),
    "the end cut off in a number": (TEXT[: TEXT.index("T-0") + 2], "line 11 is cut off"),
    "the end cut off in a kind": (TEXT[: TEXT.index("T-0") + 1], "line 11 is cut off"),
    "a line cut off before the text": (
        TEXT.replace("H-1\t-0.5\ta second", "H-1\t-0.5"),
        "line 4: H-1 has no text",
    ),
    "a line cut off before the score": (
        TEXT.replace("H-1\t-0.5\ta second", "H-1"),
        "line 4: H-1 has no text",
    ),
    "two records in a line": (
        TEXT.replace("a second\nD-1", "a secD-1", 1),
        "line 4: H-1 runs into another record",
    ),
    "two records in a line, the first a reference": (
        TEXT.replace("the second\nH-1", "the secH-1"),
        "line 3: T-1 runs into another record",
    ),
    "no score": (TEXT.replace("-0.5\ta", "a\ta", 1), "line 4: H-1 has no score"),
    "blanks trimmed by an editor": (
        "".join(f"{line.rstrip()}\n" for line in LINES),
        "line 12: H-0 has no text, not even an empty one",
    ),
    "a trimmed empty reference": (
        TEXT.replace("T-0\tthe first", "T-0"),
        "line 11: T-0 has no text",
    ),
    "a missing hypothesis": (drop("H-0\t-0.1\t"), "is incomplete: T-0 in line 11 has no H-0"),
    "a missing reference": (drop("T-1\tthe second"), "is incomplete: H-1 in line 3 has no T-1"),
    "a missing beginning": (TEXT[TEXT.index("H-1") :], "is incomplete: H-1 in line 1 has no T-1"),
    "no hypotheses": ("T-0\ta\n", "holds no hypothesis"),
    "nothing": ("", "holds no hypothesis"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_one_whole_run_is_refused(write, text, message):
    with pytest.raises(PruningError) as refusal:
        read_output(write(text))
    assert message in refusal.value.message
    assert "test.out" in refusal.value.message


def test_files_that_cannot_be_read_are_refused(write, tmp_path):
    with pytest.raises(PruningError, match="cannot read"):
        read_output(tmp_path / "none.out")
    with pytest.raises(PruningError, match="cannot read"):
        read_output(write("H-0\t-1\tä\n", "latin-1"))
