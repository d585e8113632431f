import pickle

import pytest

from dsp_fairseq.errors import (
    CommandExit,
    NotFiniteError,
    PruningError,
    exits_in_one_line,
    importing,
    refuse_taken,
)


@exits_in_one_line
def _fail(error):
    raise error


def test_errors_end_a_command_in_one_line_and_keep_their_kind():
    for error in (PruningError("give K"), NotFiniteError("give K")):
        with pytest.raises(CommandExit, match=r"^dsp_fairseq: error: give K$") as end:
            _fail(error)
        assert end.value.error is error


def test_a_message_that_quotes_several_lines_is_one_line():
    assert str(PruningError("bad data: no key\n    full_key: seed\n")) == (
        "bad data: no key full_key: seed"
    )


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError):
        _fail(ZeroDivisionError())


def test_errors_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(PruningError("give K")))
    assert isinstance(error, PruningError)
    assert error.message == "give K"


def test_an_import_that_fails_says_what_to_install():
    with importing("json"):
        import json
    assert json.dumps(1) == "1"
    with pytest.raises(PruningError) as stop, importing("nothing", "'x[y]'"):
        import nothing  # noqa: F401
    assert str(stop.value) == (
        "nothing cannot be imported (No module named 'nothing'): pip install 'x[y]'"
    )


def test_a_name_that_is_taken_is_refused():
    refuse_taken({"mine": None}, "mine", "ranking")
    with pytest.raises(PruningError, match="the ranking 'mine' is there already: register yours"):
        refuse_taken({"mine": 1}, "mine", "ranking")
