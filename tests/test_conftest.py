from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import end_processes_of, has_ended


def test_a_process_that_nobody_has_reaped_has_ended(runtime_dir: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    seen = psutil.Process(process.pid)
    assert not has_ended(seen)
    end_processes_of(runtime_dir)
    assert has_ended(seen)
    assert seen.is_running()  # a zombie
    process.wait()
    assert has_ended(seen)


def test_the_resource_tracker_stays_for_later_tests(runtime_dir: Path) -> None:
    """A process that is named like it: this one's own may have begun under another test."""
    script = "import time; time.sleep(60)  # multiprocessing.resource_tracker"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        end_processes_of(runtime_dir)
        assert process.poll() is None
        process.kill()
