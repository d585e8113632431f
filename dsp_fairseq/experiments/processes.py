"""Child processes that never outlive their parent, and the lock of a run folder."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import PruningError

GRACE_SECONDS = 5.0
"""How long children may take to end before they are killed."""

WAIT_SECONDS = 0.5
"""How often a lock is tried that another process holds."""

_children: set[subprocess.Popen] = set()
_guard = threading.Lock()
_stopping = False

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Runs in the child: Linux will end it when its parent ends in whatever way."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def search_path() -> str:
    """Where commands are looked for: beside this Python, then on the path."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def run_logged(
    command: Sequence[str],
    output: Path,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    lock: int | None = None,
) -> int:
    """Runs a command to its end.

    Args:
        command: found first beside this Python, then on the path.
        output: file that what it prints is added to.
        log: file for its standard error, where that is another one.
        environment: variables to be set besides those of this process.
        lock: file descriptor that the child and its children are to hold open.

    Returns:
        the exit status.
    """
    with output.open("ab") as out, (log or output).open("ab") as err:
        with _guard:
            if _stopping:
                raise KeyboardInterrupt
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PATH": search_path(), **(environment or {})},
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            _children.add(child)
        try:
            return child.wait()
        finally:
            _stop([child])
            with _guard:
                _children.discard(child)


def interrupt(*_: Any) -> None:
    """A signal handler: a termination is treated as Ctrl-C is."""
    raise KeyboardInterrupt


def stop_all() -> None:
    """Ends all children of this process; no further ones can be started."""
    global _stopping
    with _guard:
        _stopping = True
        children = list(_children)
    _stop(children)


def _stop(children: Sequence[subprocess.Popen]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        alive = [child for child in children if child.poll() is None]
        for child in alive:
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                continue
        for child in alive:
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[int]:
    """Holds a run folder for this process and the children that are given the descriptor.

    The lock is free as soon as the last of them has ended, however it ended.

    Raises:
        PruningError: there is no writing in it, or another process holds it and ``wait`` is false.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise PruningError(f"cannot write to {folder}: {error.strerror or error}") from None
    try:
        while not _take(descriptor):
            if _stopping:
                raise KeyboardInterrupt
            if not wait:
                raise PruningError(f"{folder} is being worked on by another process")
            time.sleep(WAIT_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)
