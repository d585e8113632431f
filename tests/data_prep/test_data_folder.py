"""What every command's data folder has in common: made whole or not at all, and never twice."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import data_folder
import parallel_corpus
import prep_common
import prepare_text
import pytest
from prep_helpers import names, prepare_argv
from warm_commands import REAL

from dsp_text.errors import TextError
from dsp_text.settings import LATER_SETTINGS, load_encoder


@dataclass(frozen=True)
class Command:
    """A command on a copy of the tiny corpus, which may be changed.

    Attributes:
        module: its `main` runs it.
        argv: makes its arguments, of the folder to make and others.
        inputs: the files that it reads.
    """

    module: ModuleType
    argv: Callable[..., list[str]]
    inputs: list[Path]

    def run(self, out: Path, *more: str) -> None:
        self.module.main(self.argv(out, *more))


@pytest.fixture(params=["prepare_text", "parallel_corpus"])
def command(request, corpus) -> Command:
    if request.param == "prepare_text":
        paths = sorted(corpus.iterdir())
        return Command(prepare_text, lambda out, *more: prepare_argv(corpus, out, *more), paths)

    def argv(out: Path, *more: str) -> list[str]:
        halves = [next(corpus.glob(f"train.{code}*")) for code in ("de", "en")]
        files = ["--source-file", str(halves[0]), "--target-file", str(halves[1])]
        return [*files, "--out", str(out), "--vocab-size", "200", *more]

    return Command(parallel_corpus, argv, [corpus / "train.de", corpus / "train.en"])


@pytest.mark.usefixtures("without_fairseq")
def test_gzip_and_windows_line_ends_change_nothing(command, tmp_path):
    command.run(tmp_path / "plain")
    for path in command.inputs:
        content = path.read_bytes().replace(b"\n", b"\r\n")
        Path(f"{path}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + content))
        path.unlink()
    command.run(tmp_path / "zipped")
    for name in ("codes.bpe", "raw/valid.src", "raw/valid.tgt", "raw/test.src", "raw/test.tgt"):
        plain, zipped = (tmp_path / folder / name for folder in ("plain", "zipped"))
        assert plain.read_bytes() == zipped.read_bytes()


def test_failure_of_fairseq_shows_its_last_line(monkeypatch, refusal, command, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "INFO: hello\nMemoryError: no room\n")
    monkeypatch.setattr(data_folder.subprocess, "run", lambda *args, **more: failed)
    place = tmp_path / "place"
    error = refusal(command.module, command.argv(place / "out"))
    assert error.endswith("fairseq-preprocess failed: MemoryError: no room\n")
    assert names(place) == set()


@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_an_existing_out_is_never_touched(refusal, command, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("precious")
    else:
        out.symlink_to(tmp_path / "nowhere")
    error = refusal(command.module, command.argv(out))
    assert error.endswith(f"{out} exists; remove it or give another --out\n")
    assert kind != "file" or out.read_text() == "precious"
    assert names(tmp_path) == {"out", "corpus"}


@pytest.mark.usefixtures("without_fairseq")
def test_if_missing_keeps_what_is_the_same(command, tmp_path, capsys):
    command.run(tmp_path / "out", "--if-missing")
    (tmp_path / "out" / "mark").touch()
    capsys.readouterr()
    command.run(tmp_path / "out", "--if-missing")
    assert (tmp_path / "out" / "mark").exists()
    assert "already prepared" in capsys.readouterr().out


@pytest.mark.usefixtures("without_fairseq")
def test_folders_from_before_later_settings_still_count(corpus, tmp_path):
    argv = prepare_argv(corpus, tmp_path / "out", "--if-missing")
    prepare_text.main(argv)
    path = tmp_path / "out" / "prep.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    encode = load_encoder(tmp_path / "out")
    for key in LATER_SETTINGS:
        del settings[key]
    path.write_text(json.dumps(settings), encoding="utf-8")
    prepare_text.main(argv)
    assert json.loads(path.read_text(encoding="utf-8")) == settings
    sentence = "Ist's der “Hund” & die Katze?"
    assert load_encoder(tmp_path / "out")(sentence) == encode(sentence)


@pytest.mark.usefixtures("without_fairseq")
@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ("settings", "another lowercase (False, now True)"),
        ("input", "another sha256_"),
        ("not prepared", "is no prepared folder"),
    ],
)
def test_if_missing_refuses_what_differs(refusal, command, tmp_path, change, fragment):
    out, more = tmp_path / "out", ["--lowercase"] if change == "settings" else []
    if change == "not prepared":
        out.mkdir()
    else:
        command.run(out)
    if change == "input":
        path = command.inputs[-1]
        path.write_bytes(path.read_bytes().replace(b".", b"!", 1))
    before = names(out)
    error = refusal(command.module, command.argv(out, "--if-missing", *more))
    assert fragment in error
    assert "remove it or give another --out" in error
    assert names(out) == before


def test_a_terminated_run_leaves_nothing(data_prep, corpus, tmp_path):
    place = tmp_path / "place"
    command = [REAL / "python", data_prep / "prepare_text.py"]  # A warm one gets no signals.
    process = subprocess.Popen(
        command + prepare_argv(corpus, place / "out"), stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("binarising"):
            break
    assert len(names(place)) == 1
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert names(place) == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_a_staged_folder_goes_on_any_error(tmp_path, error):
    def fail(folder: Path) -> None:
        (folder / "part").touch()
        raise error

    with pytest.raises(error), prep_common.staged_folder(tmp_path / "out") as folder:
        fail(folder)
    assert names(tmp_path) == set()


def test_a_staged_folder_yields_to_one_made_meanwhile(tmp_path):
    def build() -> None:
        with prep_common.staged_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()

    with pytest.raises(TextError, match="exists"):
        build()
    assert names(tmp_path) == {"out"}


def test_what_a_killed_preparation_left_is_named(tmp_path, capsys):
    left = tmp_path / ".out.0badcafe.partial"
    left.mkdir()
    (tmp_path / ".out2.0badcafe.partial").mkdir()
    with prep_common.staged_folder(tmp_path / "out"):
        pass
    printed = capsys.readouterr().out
    assert printed == f"note: {left} is of a preparation that was killed, or is still going on\n"
