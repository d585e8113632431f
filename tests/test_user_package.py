"""A user's own package is imported, or refused in one line."""

from __future__ import annotations

import sys

import pytest

from dsp_fairseq.errors import PruningError
from dsp_fairseq.user_package import import_package


def _package(folder, text):
    folder.mkdir()
    (folder / "__init__.py").write_text(text)
    return str(folder)


def test_it_is_imported(tmp_path):
    import_package(_package(tmp_path / "own_parts_once", "VALUE = 1\n"))
    assert sys.modules["own_parts_once"].VALUE == 1


def test_a_folder_that_is_no_package_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(PruningError, match="is not the folder of a Python package"):
            import_package(str(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "SyntaxError: invalid syntax"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('first\\nlast')", "ValueError: last"),
    ],
)
def test_one_that_fails_says_why_in_one_line(tmp_path, text, message):
    name = "own_parts_" + message.partition("E")[0].lower()
    with pytest.raises(PruningError, match=message):
        import_package(_package(tmp_path / name, text))


def test_an_error_in_a_file_of_it_is_said_with_the_place(tmp_path):
    for name, text, line in (("raises", "\nint('x')\n", 2), ("spelled", "1 +\n", 1)):
        folder = tmp_path / f"own_parts_{name}"
        _package(folder, "from . import parts\n")
        (folder / "parts.py").write_text(text)
        with pytest.raises(PruningError) as stop:
            import_package(str(folder))
        assert stop.value.message.endswith(f" ({folder / 'parts.py'}, line {line})")


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(PruningError, match="not globally unique"):
        import_package(_package(tmp_path / "json", ""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "from dsp_fairseq.analysis.ranking import register_ranking\n"
            "register_ranking('michel', 'mine')(print)\n",
            "the ranking 'michel' is there already",
        ),
        (
            "from dsp_fairseq.export.exporter import register_exporter\n"
            "register_exporter(type('Mine', (), {'name': 'pruned'}))\n",
            "the format of export 'pruned' is there already",
        ),
        (
            "from dsp_fairseq.experiments.evaluation import register_evaluation\n"
            "register_evaluation(type('Mine', (), {'task': 'translation'}))\n",
            "the evaluation of --task 'translation' is there already",
        ),
        (
            "from dsp_fairseq.heads.family import register_family\n"
            "from dsp_fairseq.models.transformer import TRANSFORMER\n"
            "register_family(TRANSFORMER)\n",
            "the model family 'dsp_transformer' is there already",
        ),
        (
            "from dsp_fairseq.estimators import ESTIMATORS\nESTIMATORS['simple'] = int\n",
            "the estimator 'simple' is there already",
        ),
    ],
    ids=["ranking", "exporter", "evaluation", "family", "estimator"],
)
def test_one_that_takes_the_place_of_a_part_is_refused(tmp_path, request, text, message):
    name = "own_parts_taken_" + request.node.callspec.id
    with pytest.raises(PruningError, match=message):
        import_package(_package(tmp_path / name, text))
