"""What a run was made from: versions, git revision, the hash of the data."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import sacrebleu
import torch

from ..about import USER_DIR, __version__
from ..errors import PruningError
from ..files import file_hash


def versions() -> dict[str, str]:
    """Versions of all that numbers depend on."""
    # Two packages own the module fairseq.
    packages = metadata.packages_distributions().get("fairseq", [])
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "fairseq": ", ".join(f"{metadata.version(name)} ({name})" for name in packages),
        "dsp_fairseq": __version__,
        "sacrebleu": sacrebleu.__version__,
    }


def git_state() -> dict[str, Any] | None:
    """Revision of this package's sources and whether they were changed; None outside git."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(USER_DIR), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        # A virtual environment may lie in a repository of something else.
        git("ls-files", "--error-unmatch", "__init__.py")
        return {
            "revision": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


def device(gpu: int | None = None, processes: int = 1, cpu: bool = False) -> str:
    """The machine that trains, in one line.

    Args:
        gpu: the number of the GPU that one process has to itself, or None.
        processes: how many train, each on a GPU.
        cpu: whether they leave GPUs alone.
    """
    if torch.cuda.is_available() and not cpu:
        return f"{processes} x {torch.cuda.get_device_name(gpu or 0)}"
    return f"CPU ({platform.machine()})"


def data_hash(folder: Path) -> str:
    """SHA-256 over names and contents of the binarised data and its dictionaries.

    Raises:
        PruningError: the folder holds no binarised data.
    """
    names = ("*.bin", "*.idx", "dict.*txt")
    # Classification has a folder for each input, and one for the labels.
    found = {path for name in names for place in ("", "*/") for path in folder.glob(place + name)}
    files = sorted(found, key=lambda path: path.relative_to(folder).as_posix())
    if not any(path.name.startswith("train.") for path in files):
        raise PruningError(f"{folder} holds no binarised data (train.*.bin)")
    return _hash_of(folder, files)


def package_hash(folder: Path) -> str:
    """SHA-256 over names and contents of the source files of a package."""
    found = [path for path in folder.rglob("*.py") if path.is_file()]
    return _hash_of(folder, sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def _hash_of(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name} {file_hash(path)}\n".encode())
    return digest.hexdigest()
