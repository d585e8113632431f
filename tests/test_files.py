"""Files are written whole or not at all, and never over another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.files import in_place_of, read_text, refuse_existing, write_whole


def test_a_file_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "deep/er/a.txt"
    with in_place_of(path) as part:
        part.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail():
        with in_place_of(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_makes_way_where_that_is_allowed(tmp_path):
    folder = tmp_path / "out"
    for number in range(2):
        with in_place_of(folder, replace_folder=True) as part:
            part.mkdir()
            (part / str(number)).touch()
    assert [file.name for file in folder.iterdir()] == ["1"]
    before = tmp_path / "before"
    for _ in range(2):
        with in_place_of(before, replace_folder=True) as part:
            part.mkdir()
            (part / "full").touch()
    with pytest.raises(OSError, match="not empty"), in_place_of(folder) as part:
        part.mkdir()


def test_places_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("")
    with pytest.raises(PruningError, match=r"cannot write .*a/b: .*/a is a file"):
        write_whole(tmp_path / "a/b", "text")
    with pytest.raises(PruningError, match="a exists: remove it or give another --output"):
        refuse_existing(tmp_path / "a")
    refuse_existing(tmp_path / "b")

    def fail(self, content):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(PruningError, match=r"cannot write .*b: No space left"):
        write_whole(tmp_path / "b", b"bytes")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_text_is_read_or_refused_in_one_line(tmp_path):
    (tmp_path / "a").write_bytes("ä\r\nb".encode())
    assert read_text(tmp_path / "a") == "ä\nb"
    (tmp_path / "latin").write_bytes("ä".encode("latin-1"))
    for name, reason in (("none", "No such file"), (".", "Is a dir"), ("latin", "not valid UTF-8")):
        with pytest.raises(PruningError, match=f"cannot read .*: .*{reason}"):
            read_text(tmp_path / name)


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path, folder):
    target, link = tmp_path / "there/target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("first", "second"):
        with in_place_of(link, replace_folder=folder) as part:
            if folder:
                part.mkdir()
            (part / "a" if folder else part).write_text(text)
        assert link.is_symlink()
        assert (target / "a" if folder else target).read_text() == text
