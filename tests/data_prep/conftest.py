"""Puts data-prep on the path and makes a tiny corpus; most tests need no fairseq run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))

import data_folder  # noqa: E402
import prep_common  # noqa: E402
import prepare_text  # noqa: E402
import toy_corpus  # noqa: E402
from prep_helpers import SIZES, prepare_argv  # noqa: E402


@pytest.fixture(autouse=True)
def _warm(warm) -> None:
    """What is started binarises without importing PyTorch first."""


@pytest.fixture(scope="session")
def data_prep(commands, tmp_path_factory) -> Path:
    """The folder of the commands, beside an environment of warm ones."""
    root = tmp_path_factory.mktemp("root")
    (root / ".venv").mkdir()
    (root / ".venv/bin").symlink_to(commands.folder)
    return Path(shutil.copytree(DATA_PREP, root / "data-prep"))


@pytest.fixture(scope="session")
def pristine_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny raw corpus; do not change it."""
    folder = tmp_path_factory.mktemp("corpus")
    toy_corpus.write_corpus(folder, SIZES, seed=3)
    return folder


@pytest.fixture
def corpus(pristine_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the tiny raw corpus, to be damaged at will."""
    return Path(shutil.copytree(pristine_corpus, tmp_path / "corpus"))


@pytest.fixture(scope="session")
def prepared_bpe(pristine_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus as BPE data, German to English."""
    out = tmp_path_factory.mktemp("bpe") / "data"
    prepare_text.main(prepare_argv(pristine_corpus, out))
    return out


@pytest.fixture(scope="session")
def prepared_spm(pristine_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus as lowercased SentencePiece data, English to German."""
    out = tmp_path_factory.mktemp("spm") / "data"
    more = ("--source", "en", "--target", "de", "--subword", "sentencepiece", "--lowercase")
    prepare_text.main(prepare_argv(pristine_corpus, out, *more))
    return out


@pytest.fixture
def without_fairseq(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips the binarising, the one slow step."""
    monkeypatch.setattr(data_folder, "binarise", lambda text, work, folder, workers: None)


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command that has to be refused and returns its one line of error."""

    def run(module, argv: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py"])
        monkeypatch.setattr(prep_common.signal, "signal", lambda number, action: None)
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            prep_common.run_command(lambda _: module.main(argv))
        assert exit_info.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert "error: " in error
        return error

    return run


@pytest.fixture
def run(data_prep, tmp_path):
    """Runs a script with its own folder for temporary files, which has to be empty after."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run_script(name: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
        command = ["bash", str(data_prep / name), *map(str, args)]
        variables = os.environ | {"TMPDIR": str(scratch)} | environment
        result = subprocess.run(command, capture_output=True, text=True, env=variables)
        assert list(scratch.iterdir()) == []
        return result

    return run_script
