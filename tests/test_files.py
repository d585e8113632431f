import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.files import in_place_of, refuse_existing, write_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    output = tmp_path / "new/folder/a.txt"
    write_whole(output, "text")
    assert output.read_text() == "text"

    def fail():
        with in_place_of(output) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert output.read_text() == "text"
    assert list(output.parent.iterdir()) == [output], "nothing half-made is left"


def test_a_folder_may_make_way_where_that_is_asked_for(tmp_path):
    output = tmp_path / "out"
    (output / "old").mkdir(parents=True)
    with in_place_of(output, replace_folder=True) as part:
        (part / "new").mkdir(parents=True)
    assert [path.name for path in output.iterdir()] == ["new"]


def test_what_exists_is_refused(tmp_path):
    refuse_existing(tmp_path / "none")
    with pytest.raises(PruningError, match="exists: remove it"):
        refuse_existing(tmp_path)


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PruningError, match=r"cannot write .*: .*file is a file"):
        write_whole(tmp_path / "file/a.txt", "")
