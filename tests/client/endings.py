"""Processes that log and end, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asynclog_proto import records, ringfile, spoolfile

Child = Callable[..., subprocess.Popen[str]]

START = """
import asynclog, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
run = asynclog.init(project="p", name="r", dir="out")
for step in range(1000):
    run.log({"x": float(step)})
print("ready", flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, endpoint: str) -> Iterator[Child]:
    """`child(script, home=tmp_path, before=START)`: a Python process that stands in `home` and has logged 1000 rows to
    the scripted daemon's endpoint, then runs it.
    """
    started: list[subprocess.Popen[str]] = []

    def start(script: str, home: Path = tmp_path, before: str = START, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", before + textwrap.dedent(script)],
            cwd=home,
            env={**os.environ, "ASYNCLOG_ENDPOINT": endpoint, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def left_behind(tmp_path: Path, runtime_dir: Path) -> dict[int, records.Record]:
    """What ring and spool hold, by sequence number."""
    found: dict[int, records.Record] = {}
    for path in (runtime_dir / "rings").glob("*.ring"):
        data = memoryview(path.read_bytes())
        state = ringfile.read_state(data)
        for seq, record in enumerate(ringfile.read_records(data, state), state.tail_seq):
            found[seq] = records.decode(record)
    for path in (tmp_path / "out").glob("p/*/spool/*/*.spool"):
        for batch in spoolfile.read_batches(memoryview(path.read_bytes())):
            for seq, (start, end) in enumerate(records.iterate(batch.payload), batch.first_seq):
                found[seq] = records.decode(batch.payload[start:end])
    return found


def codes(code: int) -> set[int]:
    """CPython forgets that it was interrupted when another thread is in an import; then its code is 1."""
    return {code, 1} if code == -signal.SIGINT else {code}
