"""The commands of README.md and docs/methods.md, as they stand there, on a tiny corpus.

Only sizes change: behind the flags of the page, ``fairseq-train`` gets those of a tiny model and of
a short training, and every command of fairseq gets ``--cpu``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fairseq import checkpoint_utils

from dsp_fairseq.analysis.head_map import read_head_map

ROOT = Path(__file__).parents[2]
MODULES = {
    "dsp-score": "cli.score",
    "dsp-heads": "cli.heads",
    "dsp-export": "cli.export",
    "dsp-score-heads": "cli.rank_heads",
}
SMALL = (
    "--cpu --distributed-world-size 1 --num-workers 0 --max-tokens 1200 --warmup-updates 4 "
    "--encoder-layers 3 --decoder-layers 3 --encoder-embed-dim 32 --decoder-embed-dim 32 "
    "--encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --encoder-attention-heads 4 "
    "--decoder-attention-heads 4 --lr-scheduler fixed"
)
SHORT = "--max-update 8"


def _blocks(page: str, section: str) -> str:
    """What a reader would paste from one section: its indented lines."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return "\n".join(re.findall(r"^    (.*)$", found, re.M))


def _commands(page: str, section: str, name: str) -> list[str]:
    """The commands of one name in a section, each as one line."""
    text = _blocks(page, section).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip().startswith(name + " ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The root of the repository as a reader has it, with two text files of the reader's own."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "data-prep", folder / "data-prep")
    (folder / "dsp_fairseq").symlink_to(ROOT / "dsp_fairseq")
    commands = folder / ".venv/bin"
    commands.mkdir(parents=True)
    (commands / "activate").touch()
    real = Path(sys.executable).parent
    scripts = {name: f'"{sys.executable}" -m dsp_fairseq.{m} "$@"' for name, m in MODULES.items()}
    scripts["dsp-score-heads"] += " --cpu"
    scripts["fairseq-train"] = f'{real}/fairseq-train "$@" {SMALL} $SHORT'
    scripts["fairseq-generate"] = f'{real}/fairseq-generate "$@" --cpu --max-len-b 20'
    for name, command in scripts.items():
        (commands / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (commands / name).chmod(0o755)
    subprocess.run(
        [sys.executable, ROOT / "data-prep/toy_corpus.py", "--out", folder / "raw"],
        check=True,
        capture_output=True,
    )
    for code in ("de", "en"):
        shutil.copy(folder / f"raw/test.{code}", folder / f"my.{code}")
    return folder


@pytest.fixture(scope="module")
def paste(place):
    """Runs lines in a shell, in the reader's folder."""

    def run(lines: str, short: str = SHORT) -> str:
        own = place / ".venv/bin"
        path = os.pathsep.join([str(own), str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-euc", lines],
            cwd=place,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "SHORT": short},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def mine(place, paste):
    """The five commands for one's own data, up to those for hydra."""
    commands = _blocks("README.md", "Your own data in five commands")
    return paste(commands.partition("fairseq-hydra-train")[0])


@pytest.mark.slow
def test_two_text_files_become_a_pruned_model(place, mine):
    assert "sacrebleu" in mine
    assert read_head_map(place / "runs/mine/checkpoint_best.pt").mask.sum() == 18


@pytest.mark.slow
def test_the_pruned_model_is_exported_and_trained_further(place, mine, paste):
    commands = _blocks("README.md", "A smaller model").partition("import ctranslate2")[0]
    out = paste(commands)
    assert "hypotheses are the same" in out
    assert (place / "heads.png").exists() and (place / "runs/further/checkpoint_best.pt").exists()


@pytest.mark.slow
def test_the_methods_page(place, mine, paste):
    (training,) = _commands("README.md", "Your own data in five commands", "fairseq-train")
    _, _, flags = training.partition("dsp_transformer_iwslt_de_en")
    flags = "--arch dsp_transformer_iwslt_de_en" + flags.replace("--num-of-heads 18", "").replace(
        "--save-dir runs/mine", "--save-dir runs/other"
    )
    dense = training.replace("--num-of-heads 18", "--num-of-heads 36").replace("runs/mine", "dense")
    paste(dense + "; cp dense/checkpoint_last.pt dense.pt")

    page = "docs/methods.md"
    paste("\n".join(_commands(page, "Without training: `dsp-score-heads`", "dsp-score-heads")))
    assert read_head_map(place / "michel.pt").mask.sum() == 18

    (pipelined,) = _commands(page, "Joint or pipelined: `--pruning-mode`", "fairseq-train")
    short = "--cooldown-steps 4 --finetune-updates 3 --max-update 7"
    paste(pipelined.replace("...", flags), short)
    head_map = read_head_map(place / "runs/other/checkpoint_last.pt")
    assert head_map.frozen and head_map.budget == 18
    shutil.rmtree(place / "runs/other")

    (many,) = _commands(page, "One training, many budgets", "fairseq-train")
    paste(many.replace("...", flags), "--cooldown-steps 4 --max-update 8")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(place / "runs/other/checkpoint_last.pt"))
    budgets = state["model"]["head_gates.budgets"].nonzero().flatten().tolist()
    assert budgets == [6, 12, 18]
