"""The daemon that runs started: found, killed, measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def daemon_pid(runtime: Path) -> int:
    """Of the daemon that last began there; 0 for none."""
    text = (runtime / "daemon.lock").read_text() if (runtime / "daemon.lock").exists() else ""
    return int(text) if text.strip() else 0


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def peak_mb(pid: int) -> float:
    """The most memory that a living process has had (MB, resident)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000


def sync(directory: Path) -> None:
    """`asynclog sync`."""
    command = [sys.executable, "-m", "asynclogd", "sync", str(directory)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
