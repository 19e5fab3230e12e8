"""`asynclog bench`: what logging costs, measured with real ranks and a daemon."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.timeout(120)

BENCH = (sys.executable, "-m", "asynclogd", "bench")


def test_it_tells_what_logging_costs_and_leaves_nothing_behind(
    start, output, tmp_path: Path, runtime_dir: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = start(*BENCH, "--names", 10, "--ranks", 2, "--rate", 200, "--seconds", 0.5, "--json", TMPDIR=str(folder))
    assert command.wait(60) == 0, output()
    (cost,) = json.loads(output())
    assert cost["names"] == 10
    assert 0 < cost["log_p50_us"] <= cost["log_p99_us"]
    assert cost["sender_us_a_row"] > 0
    assert cost["flush_ms"] > 0
    assert cost["daemon_cores"] >= 0
    assert 8 < cost["journal_bytes_a_value"] < 200  # a float64 of each rank, and what is around it
    assert cost["dropped"] == 0
    assert list(folder.iterdir()) == []
    assert [path.name for path in runtime_dir.iterdir() if path.name.startswith("bench-")] == []


def test_the_cpu_beside_log_is_told_below_the_table_for_each_of_its_rows(start, output) -> None:
    command = start(*BENCH, "--names", 1, "--names", 10, "--ranks", 1, "--rate", 200, "--seconds", 0.5)
    assert command.wait(60) == 0, output()
    assert re.search(r"other threads, .* take \d+, \d+ us of CPU a row", output())


def test_ctrl_c_ends_its_ranks_and_its_daemon(start, output, eventually) -> None:
    command = psutil.Process(start(*BENCH, "--names", 10, "--ranks", 1, "--seconds", 600).pid)

    def is_logging() -> bool:
        return any("asynclog.trial" in " ".join(child.cmdline()) for child in command.children())

    eventually(is_logging, 30, "a rank was started")
    children = command.children()
    assert len(children) == 2
    command.send_signal(signal.SIGINT)
    psutil.wait_procs([command, *children], 30)
    assert not command.is_running()
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in output()


def test_a_rank_that_can_not_begin_is_told(start, output) -> None:
    command = start(*BENCH, "--names", 10, "--ranks", 1, ASYNCLOG_RING_MB="many")
    assert command.wait(60) == 2
    assert "a rank of the benchmark ended before it was done" in output()
    assert "ASYNCLOG_RING_MB" in output()
