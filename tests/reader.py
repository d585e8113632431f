"""A reader of the documentation, who pastes its commands; only sizes are smaller."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from documentation import ROOT
from warm_commands import MODULES, NO_WORKER, REAL, WarmCommands, WarmServer

TINY = (
    "--cpu --num-workers 0 --max-tokens 1200 --warmup-updates 4 --lr-scheduler fixed "
    "--encoder-layers 3 --decoder-layers 3 --encoder-embed-dim 32 --decoder-embed-dim 32 "
    "--encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --encoder-attention-heads 4 "
    "--decoder-attention-heads 4"
)
"""Flags of fairseq-train for a model of 36 heads; where recipes train, the recipes are smaller."""
TINY_HYDRA = (
    "common.cpu=true optimization.max_update=4 dataset.max_tokens=600 model.cooldown_steps=2 "
    "lr_scheduler.warmup_updates=2 distributed_training.distributed_world_size=1"
)
SMALLER = {
    "max-update": 4,
    "total-num-update": 4,
    "cooldown-steps": 2,
    "freeze-heads-after": 2,
    "finetune-updates": 2,
    "warmup-updates": 2,
    "max-tokens": 600,
    "beam": 2,
}
"""Values of recipes and grids for a training of a second; what is smaller already stays."""
PAIRS = 800
"""Sentence pairs of the toy corpus, with a fortieth each for validation and test."""
TINY_BERT = {
    "dsp_roberta_minilm_l6": "dsp_roberta_tiny\n  layer-norm-eps: 1e-12\n  token-types: 2",
    "num-of-heads: 72": "num-of-heads: 8",
    "max-positions: 512": "max-positions: 32",
    "--max-length 128": "--max-length 32",
    "budgets: [9,": "budgets: [2,",
    "budgets: [18,": "budgets: [2,",
    "budgets: [72]": "budgets: [8]",
    "--toy ": "--toy 240 ",
}
"""What recipes and grids of classification say, and what they say of the BERT of the tests."""


def _shrink(content: Any) -> Any:
    """A recipe or grid with small numbers, and of a grid the first method, budget and seed."""
    if not isinstance(content, dict):
        return content
    for key, value in content.items():
        if isinstance(value, int) and value > SMALLER.get(key, value):
            content[key] = SMALLER[key]
        elif key in ("budgets", "seeds") and isinstance(value, list):
            content[key] = value[:1]
        elif key == "prepare" and "prepare-toy.sh" in value:
            content[key] = f"{value} --train {PAIRS} --valid {PAIRS // 40} --test {PAIRS // 40}"
        elif key == "methods":
            content[key] = _shrink(dict(list(value.items())[:1]))
        else:
            content[key] = _shrink(value)
        if key == "generate":
            value.update({"max-len-a": 0, "max-len-b": 10})
    return content


def _copy_repository(folder: Path) -> None:
    """The root of the repository as a reader has it, its recipes and grids smaller."""
    for name in ("data-prep", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    (folder / "dsp_fairseq").symlink_to(ROOT / "dsp_fairseq")
    for path in folder.glob("scripts/*/*.yaml"):
        text = path.read_text()
        for large, tiny in TINY_BERT.items() if "nli" in path.name else ():
            text = text.replace(large, tiny)
        path.write_text(yaml.safe_dump(_shrink(yaml.safe_load(text)), sort_keys=False))
    # It is tested on its own, and would install all that is here.
    (folder / "scripts/setup.sh").write_text("exit 0\n")


class Reader:
    """A folder, the commands in its ``.venv``, and a shell to paste into.

    Args:
        folder: an empty one.
        server: runs the commands.
    """

    def __init__(self, folder: Path, server: WarmServer) -> None:
        self.folder = folder
        _copy_repository(folder)
        self.bin = folder / ".venv/bin"
        self.bin.mkdir(parents=True)
        (self.bin / "activate").touch()
        self._commands = commands = WarmCommands(self.bin, server)
        warm = commands.warm
        commands.write("pip", f'exec "{sys.executable}" -m pip "$@" --no-deps --no-index '
                       f'--no-build-isolation --target "{folder}/site"')  # fmt: skip
        for name, module in MODULES.items():
            # What it starts has its sizes from a recipe.
            more = " --cpu" if module.endswith(("rank_heads", "prune")) else ""
            if name == "dsp-measure":
                more = " --batch-size 2 --beam 2 --length 8 --repeats 3"
            commands.write(name, f'TINY= {warm} -m {module} "$@"{more}')
        # On a busy machine the time of a head may be lost in the noise.
        (self.bin / "dsp-measure").rename(self.bin / "once")
        again = 'for i in 1 2 3 4 5 6 7 8 9; do once "$@" && exit; done; exit 1'
        commands.write("dsp-measure", again)
        commands.write("fairseq-train", f'{warm} "{REAL}/fairseq-train" "$@" $TINY')
        for name in ("fairseq-generate", "fairseq-interactive"):
            short = NO_WORKER + " ${TINY:+--max-len-b 20}"
            commands.write(name, f'{warm} "{REAL}/{name}" "$@" --cpu {short}')
        name = "fairseq-hydra-train"
        commands.write(name, f'{warm} "{REAL}/{name}" "$@" {TINY_HYDRA}')

    def paste(self, lines: str, size: str = f"{TINY} --max-update 8", **variables: str) -> str:
        """Runs lines in a shell, in the folder; returns what they print.

        Args:
            lines: what is pasted.
            size: what ``fairseq-train`` is given behind the flags of the page.
            variables: of the environment.
        """
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                **self._commands.environment,
                "CUDA_VISIBLE_DEVICES": "",
                "TINY": size,
                **variables,
            },
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
        return done.stdout
