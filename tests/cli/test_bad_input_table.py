"""Runs the table of bad input: one clear line, a status that is not 0, nothing changed."""

from __future__ import annotations

import io
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import bad_inputs
import pytest
import torch
from bad_inputs import CASES, Case
from fairseq.data import Dictionary
from pretrained import LABELS, config_of, tensors_of, write_pretrained

from dsp_fairseq import USER_DIR
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.export.fairseq import dense_checkpoint
from dsp_fairseq.imports.bert import import_bert

ROOT = Path(__file__).parents[2]
MODULES = {
    "dsp-import-bert": "cli.import_bert",
    "dsp-run": "cli.run",
    "dsp-sweep": "cli.sweep",
    "dsp-report": "cli.report",
    "dsp-average": "cli.average",
    "dsp-export": "cli.export",
    "dsp-heads": "cli.heads",
    "dsp-measure": "cli.measure",
    "dsp-predict": "cli.predict",
    "dsp-score": "cli.score",
    "dsp-rank-heads": "cli.rank_heads",
    "dsp-prune": "cli.prune",
}
SCRIPTS = {"prepare-nli.sh": "nli_corpus"}
"""A script that is one line -> the module that it runs."""


@pytest.fixture(scope="session")
def stock(tmp_path_factory, corpus) -> Path:
    """A checkpoint of fairseq's own transformer, with the vocabulary of the tiny corpus."""
    frozen = load_checkpoint(bad_inputs.FROZEN)
    path = tmp_path_factory.mktemp("stock") / "stock.pt"
    dense = dense_checkpoint(frozen, frozen.head_map(), path)
    words, width = dense.weights["encoder.embed_tokens.weight"].shape
    rows = torch.zeros(len(Dictionary.load(str(corpus / "dict.de.txt"))), width)
    dense.state["model"] = {
        name: rows if value.shape == (words, width) else value
        for name, value in dense.weights.items()
    }
    dense.save(path)
    return path


@pytest.fixture
def headless(train_pairs, tmp_path_factory) -> Path:
    """A checkpoint of a classifier of no classes."""
    path = tmp_path_factory.mktemp("headless") / "checkpoint_last.pt"
    assert train_pairs(path.parent, "--num-of-heads", "8", "--max-update", "1").status == 0
    state = torch.load(path, weights_only=True)
    state["model"] = {n: v for n, v in state["model"].items() if "classification" not in n}
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    """A checkpoint of a classifier of three classes, with all its heads."""
    folder = tmp_path_factory.mktemp("classifier")
    config = config_of("bert", id2label=dict(enumerate(LABELS)))
    write_pretrained(folder / "m", config, tensors_of(config, 3))
    return import_bert(folder / "m", folder / "checkpoint.pt").output


@contextmanager
def _disk(size: int | None) -> Iterator[None]:
    """Inside, no file grows beyond this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def fail(request, monkeypatch, tmp_path, capsys):
    """Runs a case's command, in this process unless it is a shell script.

    Returns its exit status and what it wrote to standard error.
    """

    def in_script(case: Case, arguments: list[str]) -> tuple[int, str]:
        scratch = tmp_path.parent / f"{tmp_path.name}-scratch"
        scratch.mkdir()
        done = subprocess.run(
            ["bash", str(ROOT / "data-prep" / case.command), *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        assert list(scratch.iterdir()) == []
        return done.returncode, done.stderr

    def in_data_prep(case: Case, arguments: list[str]) -> None:
        monkeypatch.syspath_prepend(ROOT / "data-prep")
        name = SCRIPTS.get(case.command, case.command.removesuffix(".py"))
        module, common = import_module(name), import_module("prep_common")
        monkeypatch.setattr(sys, "argv", [case.command])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stdin)))
        monkeypatch.setattr(common.signal, "signal", lambda number, action: None)
        common.run_command(lambda _: module.main(arguments))

    def in_package(case: Case, arguments: list[str]) -> None:
        import_module(f"dsp_fairseq.{MODULES[case.command]}").main(arguments)

    def in_fairseq(case: Case, arguments: list[str]) -> tuple[int, str]:
        if case.command == "fairseq-train":
            elsewhere = {"data": tmp_path / case.data} if case.data else {}
            train = request.getfixturevalue("train_pairs" if case.classifies else "train")
            outcome = train(tmp_path / "run", *arguments, **elsewhere)
        else:
            path, *flags = arguments
            outcome = request.getfixturevalue("generate")(path, *flags)
        # argparse's usage comes before its line.
        error = outcome.message or capsys.readouterr().err.strip().rpartition("\n")[2]
        return outcome.status, error

    def run_case(case: Case, arguments: list[str]) -> tuple[int, str]:
        prepares = case.command.endswith(".py") or case.command in SCRIPTS
        if case.command.endswith(".sh") and not prepares:
            return in_script(case, arguments)
        if case.command.startswith("fairseq-"):
            return in_fairseq(case, arguments)
        capsys.readouterr()
        run_here = in_data_prep if prepares else in_package
        with pytest.raises(SystemExit) as stop, _disk(case.disk):
            run_here(case, arguments)
        code, error = stop.value.code, capsys.readouterr().err
        # What Python does with it at the end of a process.
        return (1, f"{error}{code}") if isinstance(code, str) else (int(code or 0), error)

    return run_case


def _places(case: Case, request) -> dict[str, Path]:
    places = {"frozen": bad_inputs.FROZEN, "exported": bad_inputs.EXPORTED}
    for name in ("corpus", "stock", "classifier", "headless"):
        if f"{{{name}}}" in case.arguments:
            places[name] = request.getfixturevalue(name)
    return places


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command}: {case.mistake}")
def test_bad_input(case, request, fail, tmp_path, monkeypatch):
    for name, content in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content() if callable(content) else content
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    places = _places(case, request)
    given = {name: path.stat() for name, path in places.items()}
    monkeypatch.chdir(tmp_path)
    before = _contents(tmp_path)

    status, error = fail(case, shlex.split(case.arguments.format(**places)))

    assert status == case.status
    assert case.message in error
    line = error.strip()
    assert "\n" not in line
    assert "error: " in line
    assert _contents(tmp_path) == before
    after = {name: path.stat() for name, path in places.items()}
    assert [s.st_mtime_ns for s in after.values()] == [s.st_mtime_ns for s in given.values()]


def test_the_page_is_the_table():
    page = (ROOT / "docs/bad-input.md").read_text(encoding="utf-8")
    assert page == bad_inputs.page(), "write it: python tests/cli/bad_inputs.py > docs/bad-input.md"


def test_the_table_is_large_and_names_every_command():
    assert len(CASES) >= 40
    assert len({(case.command, case.mistake) for case in CASES}) == len(CASES)
    scripts = {path.name for path in (ROOT / "data-prep").glob("prepare-*.sh")}
    own = {*MODULES, *scripts, "prepare_text.py", "encode_text.py"}
    assert own | {"fairseq-train", "fairseq-generate"} == {case.command for case in CASES}


def test_resuming_with_another_shape_or_budget_leaves_the_checkpoint_alone(train, tmp_path):
    assert train(tmp_path, "--max-update", "8").status == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}
    outcome = train(tmp_path, "--num-of-heads", "7", "--max-update", "12")
    assert outcome.status == 1
    assert "is for 6 heads, and this one for 7" in outcome.message
    outcome = train(tmp_path, "--encoder-layers", "1", "--max-update", "12")
    assert outcome.status == 1
    assert "the checkpoint has 24 heads, this model 20 heads" in outcome.message
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")} == before


@pytest.mark.slow
def test_what_a_person_sees(train, corpus, warm, tmp_path):
    """In processes of their own: the exit status, one line, and what a missing user-dir gives."""
    command = [
        *(sys.executable, "-m", "fairseq_cli.train", str(corpus), "--user-dir", str(USER_DIR)),
        *("--arch", "dsp_transformer_tiny", "--optimizer", "dsp_adam", "--cpu"),
        *("--max-tokens", "500", "--num-of-heads", "50", "--save-dir", str(tmp_path / "run")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1
    assert errors[0].startswith("dsp_fairseq: error: --num-of-heads 50 is not a whole number")
    assert "Traceback" not in done.stderr

    assert train(tmp_path / "run", "--max-update", "1").status == 0
    command = [
        *(sys.executable, "-m", "fairseq_cli.generate", str(corpus), "--cpu"),
        *("--path", str(tmp_path / "run/checkpoint_last.pt")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "argparse.Namespace" in done.stderr  # as the README says
