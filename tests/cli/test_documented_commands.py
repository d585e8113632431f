"""The commands of README.md and docs/methods.md, as they stand there, on a tiny corpus.

Only sizes change: behind the flags of the page, ``fairseq-train`` gets those of a tiny model and of
a short training, and every command of fairseq gets ``--cpu``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import ROOT, blocks, commands
from fairseq import checkpoint_utils

from dsp_fairseq.analysis.head_map import read_head_map

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


OWN_DATA, EXPORT = "Train on your own data", "Export a smaller model"


def _script(page: str, section: str | None = None) -> str:
    """All that a reader would paste from a page or a section of it."""
    return "\n".join(blocks(page, section=section))


@pytest.fixture(scope="module")
def mine(place, paste):
    """What the README says about one's own data."""
    return paste(_script("README.md", OWN_DATA))


@pytest.mark.slow
def test_two_text_files_become_a_pruned_model(place, mine):
    assert "sacrebleu" in mine
    assert "\nH-0\t" in mine, "nothing was translated"
    assert read_head_map(place / "runs/mine/checkpoint_best.pt").mask.sum() == 18


@pytest.mark.slow
def test_the_pruned_model_is_exported(place, mine, paste):
    assert "hypotheses are the same" in paste(_script("README.md", EXPORT))
    assert (place / "heads.png").exists()


@pytest.mark.slow
def test_the_export_page(place, mine, paste):
    paste("rm -f pruned.pt; " + _script("docs/export.md"))
    assert (place / "heads.json").exists() and (place / "runs/further/checkpoint_best.pt").exists()
    (serve,) = blocks("docs/export.md", "python")
    (place / "serve.py").write_text(serve)
    assert paste(f'"{sys.executable}" serve.py').startswith("[")


@pytest.mark.slow
def test_the_methods_page(place, mine, paste):
    training = commands("README.md", OWN_DATA)[1]
    _, _, flags = training.partition("dsp_transformer_iwslt_de_en")
    flags = "--arch dsp_transformer_iwslt_de_en" + flags.replace("--num-of-heads 18", "")
    flags, _, _ = flags.partition("--save-dir")
    dense = training.replace("--num-of-heads 18", "--num-of-heads 36").replace("runs/mine", "dense")
    paste(dense + "; cp dense/checkpoint_last.pt dense.pt")

    page = "docs/methods.md"
    paste(_script(page, "Ranking without training"))
    assert read_head_map(place / "michel.pt").mask.sum() == 18

    pipelined = _script(page, "Joint or pipelined").replace("...", flags)
    short = "--cooldown-steps 4 --finetune-updates 3 --max-update 7 --save-dir runs/pipelined"
    paste(pipelined, short)
    head_map = read_head_map(place / "runs/pipelined/checkpoint_last.pt")
    assert head_map.frozen and head_map.budget == 18

    many = _script(page, "One training, several budgets").replace("...", flags)
    translated = paste(many, "--cooldown-steps 4 --max-update 8")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(place / "runs/many/checkpoint_last.pt"))
    budgets = state["model"]["head_gates.budgets"].nonzero().flatten().tolist()
    assert budgets == [6, 12, 18]
    assert "\nH-0\t" in translated
    assert read_head_map(place / "pruned12.pt").mask.sum() == 12
