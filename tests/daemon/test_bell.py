"""A sink's thread waits as long as it should, also where locks wait by the wall clock (glibc before 2.30)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.preloaded import MovedClock, built

WAITS = """
import sys, threading, time
from asynclogd.bell import Bell

bell, how = Bell(), sys.argv[1]
def wait():
    if how == "retry":
        bell.wait(1.0)
    else:
        bell.wait_for_items(lambda: 1, 0, time.monotonic() + 1.0, patient=True, caught_up=lambda: None)
thread = threading.Thread(target=wait, daemon=True)
thread.start()
print("waits", flush=True)
for _ in sys.stdin:
    bell.look_again()
    print("woken", flush=True)
    while thread.is_alive():
        time.sleep(0.01)
    print("over", flush=True)
"""


@pytest.mark.fault("clock-moved")
@pytest.mark.parametrize("how", ["retry", "items"])
def test_the_clock_is_set_back_in_the_middle_of_a_wait(how: str, tmp_path: Path) -> None:
    clock = MovedClock(built("movedclock.c", tmp_path), tmp_path / "moved")
    command = [sys.executable, "-c", WAITS, how]
    with subprocess.Popen(
        command, env=os.environ | clock.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            began = time.monotonic()
            clock.sets(-60)
            process.stdin.write("\n")
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(2)] == ["woken\n", "over\n"]
            assert 0.5 < time.monotonic() - began < 20
        finally:
            process.kill()
