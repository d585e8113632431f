"""A folder of the commands that a user has, which a warm server runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from documentation import ROOT

REAL = Path(sys.executable).parent
WARM = Path(__file__).with_name("warm.py")
MODULES = dict(
    re.findall(r'^(dsp-\S+) = "(\S+):main"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
)
"""command -> the module that it runs."""
FAIRSEQ = ("train", "generate", "interactive", "preprocess", "validate", "hydra-train")

NO_WORKER = "--num-workers 0"
"""In the test process and in forks, a worker that loads data takes five seconds to end."""


class WarmServer:
    """Runs commands for clients, without importing PyTorch each time.

    Args:
        folder: where its socket is put.
    """

    def __init__(self, folder: Path) -> None:
        socket = folder / "warm"
        self.client = f'"{sys.executable}" -S -E "{WARM}" "{socket}"'
        """How a shell starts a client; what the server is to run follows."""
        self._process = subprocess.Popen(
            [sys.executable, WARM, "serve", socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """Ends it, and whatever it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class WarmCommands:
    """``python``, ``torchrun``, and the commands of fairseq and of this package.

    Args:
        folder: where they are put.
        server: runs them.
    """

    def __init__(self, folder: Path, server: WarmServer) -> None:
        self.folder = folder
        self.warm = f'WARM_PYTHON="{self.python}" exec {server.client}'
        self.write("python", f'case "${{1:-}}" in -m|[!-]*) {self.warm} "$@";; esac\n'
                   f'exec "{sys.executable}" "$@"')  # fmt: skip
        for name in ("torchrun", *(f"fairseq-{command}" for command in FAIRSEQ)):
            more = f" {NO_WORKER}" if name in ("fairseq-generate", "fairseq-validate") else ""
            self.write(name, f'{self.warm} "{REAL}/{name}" "$@"{more}')
        for name, module in MODULES.items():
            self.write(name, f'{self.warm} -m {module} "$@"')

    @property
    def python(self) -> Path:
        """Runs a module or a file in the server, and whatever else by itself."""
        return self.folder / "python"

    @property
    def environment(self) -> dict[str, str]:
        """What the commands need, and those that they start."""
        return {
            "PATH": os.pathsep.join([str(self.folder), str(REAL), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }

    def write(self, name: str, lines: str) -> None:
        """Writes a command of these lines, in place of the one there."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
