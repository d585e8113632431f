#!/usr/bin/env python3
"""Kills training, export and data preparation with SIGKILL, goes on, and compares with no kill.

Training must end with the same weights, importance, mask, optimizer state and validation losses,
bit for bit, as a run that was never killed. When a kill cut checkpoint_last.pt off, the command
that the error names is run, as a person would. Export and preparation must leave their output
whole or not there at all.

The trainings are longer than an epoch, and have --update-epoch-batch-itr True: otherwise fairseq
groups sentences into batches once, by (seed, the epoch it started in), so in later epochs another
grouping comes out of a resume.

  python scripts/kill_test.py --kills 20
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dsp_fairseq import USER_DIR
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint, peek
from dsp_fairseq.errors import PruningError
from dsp_fairseq.files import LAST

ROOT = Path(__file__).resolve().parents[1]
UPDATES, FREEZE, SAVE_EVERY = 40, 24, 3
MOMENTS = {
    "training": r"\| train_inner \|",
    "freezing": r"froze \d+ of",
    "saving": r"Preparing to save checkpoint",
    "copying": r"Preparing to save checkpoint",
}
"""A moment to kill at -> the log line after which it comes."""


def training_command(data: Path, folder: Path) -> list[str]:
    """fairseq-train of a tiny model, with dropout, that saves and validates every few updates."""
    flags = f"""--user-dir {USER_DIR} --arch dsp_transformer_tiny --share-all-embeddings --cpu
        --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32
        --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --dropout 0.1 --num-of-heads 4
        --cooldown-steps {FREEZE} --criterion dsp_label_smoothed_cross_entropy
        --label-smoothing 0.1 --optimizer dsp_adam --lr 3e-3 --max-tokens 600 --num-workers 0
        --max-update {UPDATES} --save-interval-updates {SAVE_EVERY} --keep-interval-updates 2
        --validate-interval-updates {SAVE_EVERY} --no-epoch-checkpoints
        --update-epoch-batch-itr True --log-format simple --log-interval 1"""
    command = [sys.executable, "-m", "fairseq_cli.train", str(data), "--save-dir", str(folder)]
    return command + shlex.split(flags)


class Training:
    """One folder of a training, and all that its lives logged."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder = folder
        self.command = training_command(data, folder)
        self.log: list[str] = []
        self.mended = 0

    def is_done(self) -> bool:
        """Whether the last update was saved; fairseq would add one to it if it were started."""
        try:
            return peek(self.folder / LAST).updates >= UPDATES
        except PruningError:
            return False

    def live(self, moment: str | None, skip: int = 0, delay: float = 0.0) -> bool:
        """Runs until the end, or until a kill; returns whether it was killed.

        Args:
            moment: one of :data:`MOMENTS`; None lets it live.
            skip: how many such log lines to let pass.
            delay: seconds from that line to the kill.
        """
        process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        last, killed, lines = self.folder / LAST, False, []
        for line in process.stdout:
            lines.append(line)
            if killed or moment is None or not re.search(MOMENTS[moment], line):
                continue
            skip -= 1
            if skip < 0:
                if moment == "copying":
                    _wait_for_copy(last)
                else:
                    time.sleep(delay)
                process.kill()
                killed = True
        killed = process.wait() == -signal.SIGKILL
        self.log += lines
        if process.returncode > 0:
            self._mend("".join(lines))
            return False
        return killed

    def _mend(self, log: str) -> None:
        named = re.search(r"continue from it by (cp \S+ \S+) and the same command again", log)
        if not named:
            raise SystemExit(f"the training did not go on:\n{log[-3000:]}")
        subprocess.run(shlex.split(named[1]), check=True)
        self.mended += 1

    def losses(self) -> dict[int, str]:
        """Update number -> validation loss, of all lives; contradictions are kept visible."""
        found: dict[int, str] = {}
        pattern = r"valid on 'valid' subset \| loss (\S+) .*\| num_updates (\d+)"
        for loss, update in re.findall(pattern, "".join(self.log)):
            known = found.get(int(update), loss)
            found[int(update)] = loss if known == loss else f"{known} and {loss}"
        return found


def _wait_for_copy(path: Path) -> None:
    """Waits until a file is being overwritten, so that it is shorter than before."""
    try:
        size = path.stat().st_size
        end = time.monotonic() + 2
        while path.stat().st_size >= size and time.monotonic() < end:
            pass
    except FileNotFoundError:
        pass


def differences(ours: Any, theirs: Any, name: str = "checkpoint") -> list[str]:
    """Where two nested values differ, bit for bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return [name]
        return [d for key in ours for d in differences(ours[key], theirs[key], f"{name}.{key}")]
    if isinstance(ours, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [name]
    return [] if ours == theirs else [name]


def compare(killed: Training, whole: Training) -> list[str]:
    """What a killed training ended with that is not as in the training that was never killed."""
    ends = [load_checkpoint(training.folder / LAST) for training in (killed, whole)]
    parts = [
        {
            "model": end.weights,
            "optimizer": end.state["last_optimizer_state"],
            "updates": end.updates,
            "val_loss": end.state["extra_state"]["val_loss"],
            "best": end.state["extra_state"]["best"],
        }
        for end in ends
    ]
    found = differences(*parts)
    ours, theirs = killed.losses(), whole.losses()
    return found + [f"validation loss of update {u}" for u in theirs if ours.get(u) != theirs[u]]


def kill_training(data: Path, work: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kills trainings until there were enough kills; raises SystemExit at the first difference."""
    whole = Training(data, work / "whole")
    whole.live(None)
    if not (whole.is_done() and len(whole.losses()) > UPDATES // SAVE_EVERY):
        raise SystemExit("the training without kills failed:\n" + "".join(whole.log)[-3000:])
    counts: Counter[str] = Counter()
    bar = tqdm(total=kills, desc="kills of training")
    while sum(counts[moment] for moment in MOMENTS) < kills:
        run = Training(data, work / f"killed{counts['trainings']}")
        while not run.is_done():
            enough = sum(counts[moment] for moment in MOMENTS) >= kills
            moment = None if enough else rng.choice(list(MOMENTS))
            skip = rng.randrange(8) if moment == "training" else 0
            skip = rng.randrange(3) if moment in ("saving", "copying") else skip
            if run.live(moment, skip, rng.uniform(0, 0.05)):
                counts[moment] += 1
                bar.update()
        counts["trainings"] += 1
        if counts["trainings"] > 3 * kills + 3:
            raise SystemExit(f"trainings end before their kills: only {dict(counts)}")
        counts["mended"] += run.mended
        found = compare(run, whole)
        if found:
            raise SystemExit(f"{run.folder} ended differently in {', '.join(found[:5])}")
    bar.close()
    return counts


def kill_writing(command: Sequence[str], output: Path, delay: float) -> bool:
    """Kills a command while it writes: once its temporary folder is there, and a delay later.

    Returns:
        whether it was killed before it was done.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not list(output.parent.glob(f".{output.name}.*")):
        time.sleep(0.0005)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def kill_exports(checkpoint: Path, work: Path, kills: int, rng: random.Random) -> int:
    """Kills dsp-export while it writes; what it leaves is whole or nothing, and can be made again.

    Returns:
        the number of kills that came before the end.
    """
    done = 0
    for number in tqdm(range(kills), "kills of export"):
        output = work / f"pruned{number}.pt"
        command = [sys.executable, "-m", "dsp_fairseq.cli.export", str(checkpoint)]
        command += ["--output", str(output)]
        done += kill_writing(command, output, rng.uniform(0, 0.01))
        if not output.exists():
            subprocess.run(command, check=True, capture_output=True)
        load_checkpoint(output)
    return done


def kill_preparations(work: Path, kills: int, rng: random.Random) -> int:
    """As :func:`kill_exports`, of data-prep/prepare-toy.sh."""

    def command(output: Path) -> list[str]:
        script = str(ROOT / "data-prep/prepare-toy.sh")
        sizes = ["--train", "300", "--valid", "20", "--test", "20", "--vocab-size", "200"]
        return ["bash", script, "--out", str(output), *sizes]

    def content(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.bin")}

    start = time.monotonic()
    subprocess.run(command(work / "data"), check=True, capture_output=True)
    duration = time.monotonic() - start
    done = 0
    for number in tqdm(range(kills), "kills of preparation"):
        output = work / f"data{number}"
        done += kill_writing(command(output), output, rng.uniform(0, duration / 2))
        if not output.exists():
            subprocess.run(command(output), check=True, capture_output=True)
        if content(output) != content(work / "data"):
            raise SystemExit(f"{output} is not what a preparation without a kill makes")
    return done


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="of training (default: 20)")
    parser.add_argument("--other-kills", type=int, default=3, metavar="N",
                        help="of export, and of preparation (default: 3 each)")  # fmt: skip
    parser.add_argument("--data", type=Path, help="prepared toy corpus (default: made anew)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepared = kill_preparations(work, args.other_kills, rng)
        counts = kill_training(args.data or work / "data", work, args.kills, rng)
        exported = kill_exports(work / "whole" / LAST, work, args.other_kills, rng)
    for moment in MOMENTS:
        print(f"{moment:<12} {counts[moment]:>3} kills")
    print(f"{'export':<12} {exported:>3} kills; {'preparation'} {prepared} kills")
    print(f"{counts['mended']} starts were mended by the command that the error named")
    total = sum(counts[moment] for moment in MOMENTS)
    print(f"survived {total} of {args.kills} kills of training; {counts['trainings']} trainings "
          "ended bit for bit as without a kill")  # fmt: skip


if __name__ == "__main__":
    main()
