"""bench/threads.py, run as a user runs it, shortly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "threads.py"


def test_a_call_is_measured_for_one_two_and_four_threads_beside_the_encoder() -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    rows = [row for row in json.loads(done.stdout) if row["contender"] != "empty"]
    places = {(row["mode"], row["contender"], row["threads"]) for row in rows}
    assert places == {
        (mode, contender, threads)
        for mode in ("between work", "back to back")
        for contender in ("msgpack", "asynclog")
        for threads in (1, 2, 4)
    }
    assert all(row["cpu_ns"] > 0 for row in rows)
