"""What a process takes, told with descriptors and without."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from asynclogd.ownprocess import OwnProcess


def test_it_tells_what_the_system_tells() -> None:
    own, process = OwnProcess(), psutil.Process()
    try:
        assert own.rss() == pytest.approx(process.memory_info().rss, rel=0.1)
        assert own.cpu_seconds() == pytest.approx(sum(process.cpu_times()[:2]), abs=0.5)
        before, most = own.descriptors()
        reader, writer = os.pipe()
        assert own.descriptors() == (before + 2, most)
        os.close(reader)
        os.close(writer)
    finally:
        own.close()


NONE_LEFT = """
import os, resource
from asynclogd.ownprocess import OwnProcess
own = OwnProcess()
before = own.rss()
opened = [os.open("/dev/null", os.O_RDONLY)]
resource.setrlimit(resource.RLIMIT_NOFILE, (opened[0] + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = bytearray(os.urandom(64 << 20))
assert own.rss() - before > 60 << 20
assert own.cpu_seconds() > 0
assert own.descriptors() == (opened[0] + 1,) * 2
"""


def test_it_tells_it_without_a_descriptor_too() -> None:
    done = subprocess.run([sys.executable, "-c", NONE_LEFT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
