"""Child processes, and the lock of a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from dsp_fairseq.experiments.processes import locked


def test_a_folder_is_worked_on_by_one_process_at_a_time(tmp_path):
    with locked(tmp_path, wait=False):
        script = (
            "from pathlib import Path; from dsp_fairseq.experiments.processes import locked\n"
            f"with locked(Path({str(tmp_path)!r}), wait=False): pass"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 1
        assert "is being worked on by another process" in done.stderr
    with locked(tmp_path, wait=False):
        pass


def test_children_die_with_their_parent_and_release_the_folder(tmp_path):
    """Even if the parent is killed, so that it cannot end them itself."""
    script = (
        "from pathlib import Path\n"
        "from dsp_fairseq.experiments.processes import locked, run_logged\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "with locked(folder, wait=False) as lock:\n"
        "    run_logged(['bash', '-c', 'echo $$ > pid; sleep 100'], folder / 'log', lock=lock)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    pid_file = tmp_path / "pid"
    while not pid_file.exists() or not pid_file.read_text().strip():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child = int(pid_file.read_text())
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child outlived its parent")
