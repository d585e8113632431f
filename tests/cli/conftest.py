"""Runs fairseq's real commands on a tiny corpus, in this process: each start would cost 5 s."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from fairseq import checkpoint_utils
from fairseq.logging import progress_bar
from tiny_data import write_pairs
from warm_commands import NO_WORKER

from dsp_fairseq import USER_DIR

ROOT = Path(__file__).parents[2]


COMMON = {
    "--label-smoothing": "0.1",
    "--lr": "3e-3",
    "--lr-scheduler": "inverse_sqrt",
    "--warmup-updates": "5",
    "--max-tokens": "1200",
    "--max-update": "10",
    "--encoder-layers": "2",
    "--decoder-layers": "2",
    "--encoder-embed-dim": "32",
    "--decoder-embed-dim": "32",
    "--encoder-ffn-embed-dim": "32",
    "--decoder-ffn-embed-dim": "32",
    "--encoder-attention-heads": "4",
    "--decoder-attention-heads": "4",
    "--num-workers": "0",
    "--distributed-world-size": "1",
    "--log-format": "simple",
    "--log-interval": "1",
}
GATED = {
    "--user-dir": str(USER_DIR),
    "--arch": "dsp_transformer_tiny",
    "--criterion": "dsp_label_smoothed_cross_entropy",
    "--optimizer": "dsp_adam",
    "--num-of-heads": "6",
    "--cooldown-steps": "6",
}
STOCK = {
    "--arch": "transformer",
    "--criterion": "label_smoothed_cross_entropy",
    "--optimizer": "adam",
}

_SHAPE = ("layers", "embed-dim", "ffn-embed-dim", "attention-heads")
_RECIPE_FLAGS = {
    "arch": "dsp_transformer_tiny",
    "share-all-embeddings": True,
    "criterion": "dsp_label_smoothed_cross_entropy",
    "label-smoothing": 0.1,
    "optimizer": "dsp_adam",
    "lr": "3e-3",
    "lr-scheduler": "inverse_sqrt",
    "warmup-updates": 5,
    "max-tokens": 1200,
    "max-update": 12,
    "cooldown-steps": 6,
    **{
        f"{side}-{name}": value
        for side in ("encoder", "decoder")
        for name, value in zip(_SHAPE, (2, 32, 32, 4), strict=True)
    },
    "num-workers": 0,
    "no-epoch-checkpoints": True,
    "log-interval": 2,
}

CLASSIFIER = {
    "--user-dir": str(USER_DIR),
    "--task": "dsp_sentence_prediction",
    "--num-classes": "3",
    "--init-token": "0",
    "--max-positions": "32",
    "--arch": "dsp_roberta_tiny",
    "--criterion": "dsp_sentence_prediction",
    "--optimizer": "dsp_adam",
    "--num-of-heads": "3",
    "--cooldown-steps": "4",
    "--max-update": "8",
    "--batch-size": "16",
    "--lr": "1e-3",
    "--lr-scheduler": "fixed",
    "--num-workers": "0",
    "--distributed-world-size": "1",
    "--best-checkpoint-metric": "accuracy",
    "--log-format": "simple",
    "--log-interval": "1",
}


@dataclass(frozen=True)
class Outcome:
    """What a command printed and logged, and its exit status."""

    out: str
    log: str
    status: int
    message: str

    @property
    def hypotheses(self) -> dict[int, str]:
        return {
            int(number): text
            for number, text in re.findall(r"^H-(\d+)\t\S+\t(.*)$", self.out, re.MULTILINE)
        }


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A few hundred sentence pairs of the toy grammar, ready for fairseq-train."""
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run(
        [
            *("bash", str(ROOT / "data-prep/prepare-toy.sh"), "--out", str(folder / "data")),
            *("--train", "400", "--valid", "30", "--test", "30", "--vocab-size", "200"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "data"


@pytest.fixture(scope="session")
def recipe(corpus, tmp_path_factory) -> Path:
    """A model of 24 heads that trains in a second; only the test split is translated."""
    content = {
        "name": "tiny",
        "data": str(corpus),
        "prepare": "bash data-prep/prepare-toy.sh --out DATA",
        "train": _RECIPE_FLAGS,
        "generate": {"beam": 2, "max-len-b": 20, "remove-bpe": True},
        "evaluate": ["test"],
    }
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def run(monkeypatch) -> Callable[..., Outcome]:
    """Runs a fairseq command by its module: ``run("train", data, "--arch", ...)``."""

    def run_command(command: str, *arguments: str | Path, stdin: str = "") -> Outcome:
        if command in ("generate", "validate"):
            arguments = (*arguments, *NO_WORKER.split())
        log = io.StringIO()
        handler = logging.StreamHandler(log)
        out, status, message = io.StringIO(), 0, ""
        monkeypatch.setattr(sys, "argv", [f"fairseq-{command}", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        # What one command remembers, and the next in a process of its own would not.
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        progress_bar._tensorboard_writers.clear()
        if command == "validate":
            # It would take away every second handler, which may be the one that listens here.
            monkeypatch.setattr("fairseq_cli.validate.reset_logging", lambda: None)
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            with redirect_stdout(out):
                import_module(f"fairseq_cli.{command}").cli_main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            message = stop.code if isinstance(stop.code, str) else ""
        finally:
            root.removeHandler(handler)
        return Outcome(out.getvalue(), log.getvalue(), status, message)

    return run_command


@pytest.fixture
def gated_flags() -> dict[str, str]:
    """The flags of a tiny gated model that are not given otherwise."""
    return COMMON | GATED


@pytest.fixture
def train(run, corpus) -> Callable[..., Outcome]:
    """fairseq-train on the tiny corpus: a 2+2-layer model of 4 heads, 24 heads in all."""

    def run_train(
        save_dir: Path,
        *flags: str | Path,
        gated: bool = True,
        cpu: bool = True,
        tied: bool = True,
        data: Path = corpus,
    ) -> Outcome:
        defaults = COMMON | (GATED if gated else STOCK) | {"--save-dir": str(save_dir)}
        given = {str(flag) for flag in flags}
        if given & {"--cost-budget", "--head-costs"}:
            given.add("--num-of-heads")
        rest = [part for pair in defaults.items() if pair[0] not in given for part in pair]
        switches = ["--cpu"] * cpu + ["--share-all-embeddings"] * tied
        return run("train", data, *switches, *rest, *flags)

    return run_train


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder that the tests of a module share."""
    return tmp_path_factory.mktemp("module")


@pytest.fixture
def dense(train, folder) -> Path:
    """A checkpoint of fairseq's own transformer, after six updates."""
    path = folder / "dense/checkpoint_last.pt"
    if not path.exists():
        assert train(path.parent, "--max-update", "6", gated=False).status == 0
    return path


@pytest.fixture
def trained(train, folder):
    """A frozen checkpoint with 6 of 24 heads, trained until its hypotheses are no coin tosses.

    It is kept in the ``folder`` of the module that asks for it.
    """
    path = folder / "run/checkpoint_last.pt"
    if not path.exists():
        assert train(path.parent, "--max-update", "100").status == 0
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    """Binarised pairs of sentences with three labels."""
    return write_pairs(tmp_path_factory.mktemp("pairs") / "data")


@pytest.fixture
def train_pairs(run, pairs) -> Callable[..., Outcome]:
    """fairseq-train on these: a classifier of 2 layers of 4 heads."""

    def run_train(save_dir: Path, *flags: str | Path, data: Path = pairs) -> Outcome:
        given = {str(flag) for flag in flags}
        rest = [part for pair in CLASSIFIER.items() if pair[0] not in given for part in pair]
        more = ("--cpu", "--maximize-best-checkpoint-metric", "--save-dir", save_dir)
        return run("train", data, *more, *rest, *flags)

    return run_train


@pytest.fixture
def generate(run, corpus) -> Callable[..., Outcome]:
    """fairseq-generate on the test split of the tiny corpus."""

    def run_generate(path: Path | str, *flags: str) -> Outcome:
        return run(
            *("generate", corpus, "--user-dir", USER_DIR, "--path", path, "--cpu"),
            *("--beam", "3", "--max-len-b", "20", "--remove-bpe"),
            # Without it fairseq leaves out the last incomplete batch.
            *("--required-batch-size-multiple", "1", *flags),
        )

    return run_generate
