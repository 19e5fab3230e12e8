"""How a process may end, each in a real one: nothing that log() took is lost, and nothing hangs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclog_proto import records
from tests.client.endings import Child, child, codes, left_behind, ready
from tests.client.scripted import ScriptedDaemon

__all__ = ["child"]

pytestmark = pytest.mark.fault("exits")

Eventually = Callable[..., None]


def ended(daemon: ScriptedDaemon, status: str) -> None:
    assert daemon.points()[:1000] == [(step, "x", float(step)) for step in range(1000)]
    assert daemon.records()[-1] == records.End(status)


WAYS = {
    "the script's end": ("", 0, "success"),
    "sys.exit": ("sys.exit(3)", 3, "success"),
    "an exception": ("raise RuntimeError('crash')", 1, "failed"),
    "with, and an exception": ("with run: raise RuntimeError('crash')", 1, "failed"),
    "with, and sys.exit(0)": ("with run: sys.exit(0)", 0, "success"),
    "with, and sys.exit(3)": ("with run: sys.exit(3)", 3, "failed"),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT, "interrupted"),
    "with, and Ctrl-C": (
        "with run: os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
        -signal.SIGINT,
        "interrupted",
    ),
    "SIGTERM as SystemExit": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\nos.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        143,
        "success",
    ),
    "a thread that runs on": ("threading.Thread(target=time.sleep, args=(99,), daemon=True).start()", 0, "success"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_out_delivers_everything_and_keeps_its_code(way: str, daemon: ScriptedDaemon, child: Child) -> None:
    script, code, status = WAYS[way]
    process = child(script)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in codes(code), errors
    assert "asynclog" not in errors.replace("asynclog.init", "")
    ended(daemon, status)


def test_without_a_daemon_each_way_out_is_bounded_and_spools(child: Child, tmp_path: Path, runtime_dir: Path) -> None:
    """All at once, for each waits for a daemon as long as it may."""
    ways = ["the script's end", "an exception", "Ctrl-C"]
    places = [(tmp_path / str(number), runtime_dir / str(number)) for number in range(len(ways))]
    for home, runtime in places:
        home.mkdir()
        runtime.mkdir(0o700)
    processes = [
        child(WAYS[way][0], home, ASYNCLOG_RUNTIME_DIR=str(runtime))
        for way, (home, runtime) in zip(ways, places, strict=True)
    ]
    for process in processes:
        ready(process)
    before = time.monotonic()
    for way, process, place in zip(ways, processes, places, strict=True):
        _, code, status = WAYS[way]
        process.communicate(timeout=40)
        assert time.monotonic() - before < 20, way
        assert process.returncode in codes(code), way
        found = left_behind(*place)
        assert len(found) == 1002, way
        assert found[1001] == records.End(status), way


SIGTERMS = {
    "asleep": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "in a call of log": """
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while True: run.log({'x': 1.0}, 1000)
    """,
}


@pytest.mark.parametrize("where", ["asleep", "in a call of log"])
def test_sigterm_ends_at_once_and_what_was_logged_stays(
    where: str, child: Child, tmp_path: Path, runtime_dir: Path
) -> None:
    """Not caught: the daemon delivers the ring of a dead process."""
    process = child(SIGTERMS[where])
    assert process.wait(30) == -signal.SIGTERM
    assert len(left_behind(tmp_path, runtime_dir)) >= 1001


def test_logging_from_a_signal_handler_neither_hangs_nor_loses(daemon: ScriptedDaemon, child: Child) -> None:
    script = """
        import itertools
        calls = itertools.count(1)  # handlers interrupt each other too, and next() is one step
        call = 0
        def handler(*_):
            global call
            call = next(calls)
            run.log({'from/handler': float(call)}, step=2000)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while call < 400: run.log({'y': 1.0}, step=2000)
        signal.setitimer(signal.ITIMER_REAL, 0)
        run.finish()
        print(next(calls) - 1, flush=True)
    """
    process = child(script)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    calls = int(output.split()[-1])
    assert calls >= 400
    told = [value for _, name, value in daemon.points() if name == "from/handler"]
    assert sorted(told) == [float(call) for call in range(1, calls + 1)]


SLEEPS = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("ready", flush=True)
    time.sleep(60)
"""
SLEEPS_IN_WITH = SLEEPS.replace("time.sleep", "with run: time.sleep")


@pytest.mark.parametrize("script", [SLEEPS, SLEEPS_IN_WITH], ids=["plain", "with"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_at_once(
    script: str,
    number: signal.Signals,
    code: int,
    child: Child,
    tmp_path: Path,
    runtime_dir: Path,
    eventually: Eventually,
) -> None:
    """The first one waits for a daemon, which does not come; who has waited in vain says where the rest is."""
    process = child(script)
    ready(process)
    ready(process)
    process.send_signal(number)
    eventually(
        lambda: any(isinstance(record, records.End) for record in left_behind(tmp_path, runtime_dir).values()),
        what="the wait for a daemon",
    )
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode in codes(code)
    assert "the rest is in" not in errors
    assert "atexit" not in errors
    assert len(left_behind(tmp_path, runtime_dir)) >= 1001


ENDINGS_AT_ONCE = {
    "os._exit": ("os._exit(7)", 7),
    "abort, as NCCL's watchdog does": ("os.abort()", -signal.SIGABRT),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
}


@pytest.mark.parametrize("way", ENDINGS_AT_ONCE)
def test_what_ends_without_python_leaves_the_ring_to_the_daemon(
    way: str, child: Child, tmp_path: Path, runtime_dir: Path
) -> None:
    script, code = ENDINGS_AT_ONCE[way]
    process = child(f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {script}")
    assert process.wait(30) == code
    found = left_behind(tmp_path, runtime_dir)
    assert sorted(found) == list(range(1001))


def test_every_record_whose_log_returned_survives_sigkill(tmp_path: Path, runtime_dir: Path, endpoint: str) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for round_ in range(6):
        reader, writer = os.pipe()
        script = f"""
import asynclog, os, signal
run = asynclog.init(project="p", name="k{round_}", dir="out")
step = 0
while True:
    run.log({{"x": float(step), "y": -float(step)}})
    if any(run.stats.dropped.values()):  # a busy machine: the spool did not keep up with the ring
        signal.pause()
    os.write({writer}, step.to_bytes(8, "big"))
    step += 1
"""
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            pass_fds=[writer],
            env={**os.environ, "ASYNCLOG_ENDPOINT": endpoint, "ASYNCLOG_RING_MB": "0.25"},
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            heard = told.read(8)
            end = time.monotonic() + chance.uniform(0.0, 0.4)
            while time.monotonic() < end:
                heard = told.read1(1 << 16) or heard
            process.kill()
            process.wait()
            heard = told.read() or heard
        last = int.from_bytes(heard[-8:], "big")
        found = left_behind(tmp_path, runtime_dir)
        assert sorted(found) == list(range(len(found)))
        rows = [record for _, record in sorted(found.items()) if isinstance(record, records.Row)]
        assert [row.values for row in rows] == [(float(i), -float(i)) for i in range(len(rows))]
        assert len(rows) > last, f"{len(rows)} rows are left, and log() had returned for step {last}"
        for path in (*(runtime_dir / "rings").glob("*.ring"), *(tmp_path / "out").glob("p/*/spool/*/*.spool")):
            path.unlink()
