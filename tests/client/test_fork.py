"""A forked child has inert copies: it neither harms nor waits for anything of the parent's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import asynclog
from asynclog.process import RUNS
from asynclog_proto import records
from tests.client.scripted import ScriptedDaemon

pytestmark = pytest.mark.fault("forked")

Begin = Callable[..., asynclog.Run]


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child; its exit code, 99 when it raised."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_fork_waits_while_a_daemon_is_started(begin: Begin) -> None:
    """Else the child would have an end of the pipe on which subprocess waits."""
    run = begin(mode="offline")
    codes: list[int] = []
    forking = threading.Thread(target=lambda: codes.append(in_child(lambda: None)))
    with RUNS.spawning:
        forking.start()
        forking.join(0.2)
        assert forking.is_alive()
    forking.join(20)
    assert codes == [0]
    assert in_child(run.finish) == 0
    assert not RUNS.spawning.locked()


def test_a_child_that_logs_is_told_once_and_the_parent_loses_nothing(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    for step in range(100):
        run.log({"x": float(step)})

    def work() -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(1000):
                run.log({"x": -1.0})
            asynclog.log({"y": -1.0})
            run.params({"a": 1})
        texts = [str(one.message) for one in told]
        assert sum("log() in a forked process" in text for text in texts) == 1
        assert run.stats.dropped["after_fork"] == 1001
        assert not run.finish(timeout=30).complete

    assert in_child(work) == 0
    for step in range(100, 200):
        run.log({"x": float(step)})
    ledger = run.finish()
    assert ledger.dropped == {}
    assert daemon.points() == [(step, "x", float(step)) for step in range(200)]


def test_children_forked_while_other_threads_log_do_not_hang(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    stop = threading.Event()

    def work() -> None:
        step = 0
        while not stop.is_set():
            run.log({"x": float(step)}, step=step)
            step += 1

    def log_quietly() -> None:
        warnings.simplefilter("ignore")
        run.log({"x": -1.0})

    thread = threading.Thread(target=work)
    thread.start()
    codes = [in_child(log_quietly) for _ in range(10)]
    stop.set()
    thread.join()
    assert codes == [0] * 10
    assert run.finish().complete
    points = daemon.points()
    assert points == [(step, "x", float(step)) for step in range(len(points))]


def test_a_child_may_begin_a_run_of_its_own(daemon: ScriptedDaemon, begin: Begin, tmp_path: Path) -> None:
    run = begin()
    run.log({"x": 1.0})

    def work() -> None:
        own = asynclog.init(project="p", name="child", dir=str(tmp_path), endpoint=daemon.endpoint)
        own.log({"x": 2.0})
        assert own.finish().complete

    assert in_child(work) == 0
    assert run.finish().complete
    assert {hello.name for hello in daemon.hellos} == {"run0", "child"}
    assert len(daemon.journal) == 2


def test_a_child_dies_of_sigterm_at_once(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"!")
        time.sleep(60)
        os._exit(0)
    assert os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    run.log({"x": 1.0})
    assert run.finish().complete


def test_a_child_that_exits_in_order_leaves_the_run_to_the_parent(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    """Interpreter exit in the child: atexit runs there too, and must do nothing."""
    script = """
        import asynclog, os, sys
        run = asynclog.init(project="p", name="r", dir="out", endpoint=sys.argv[1])
        run.log({"x": 0.0})
        if os.fork() == 0:
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        run.log({"x": 1.0})
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script), daemon.endpoint],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert daemon.points() == [(0, "x", 0.0), (1, "x", 1.0)]
    assert daemon.records()[-1] == records.End("success")


def test_a_forked_pool_works_beside_a_run(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for number in pool.imap(abs, range(-50, 0)):
            run.log({"x": float(number)})
    assert run.finish().complete
    assert len(daemon.points()) == 50


@pytest.mark.torch
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loader_works_beside_a_run(method: str, daemon: ScriptedDaemon, begin: Begin) -> None:
    torch = pytest.importorskip("torch")
    run = begin()
    data = torch.utils.data.TensorDataset(torch.arange(64.0))
    spawns = method == "spawn"  # where each worker imports torch, which takes seconds: one worker, for both epochs
    loader = torch.utils.data.DataLoader(
        data,
        batch_size=8,
        num_workers=1 if spawns else 2,
        multiprocessing_context=method,
        persistent_workers=spawns,
    )
    for _ in range(2):
        for (batch,) in loader:
            run.log({"mean": batch.mean()})
    assert run.finish().complete
    assert [value for _, _, value in daemon.points()] == [3.5 + 8 * i for i in range(8)] * 2


@pytest.mark.parametrize(("fails", "status"), [(False, "success"), (True, "failed")])
def test_a_forked_child_of_multiprocessing_ends_the_run_that_it_began(
    fails: bool, status: str, daemon: ScriptedDaemon, endpoint: str, tmp_path: Path
) -> None:
    def work() -> None:
        asynclog.init("p", "child", dir=str(tmp_path), endpoint=endpoint).log({"a": 1.0})
        if fails:
            raise ZeroDivisionError

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == int(fails)
    assert daemon.points() == [(0, "a", 1.0)]
    assert daemon.records()[-1] == records.End(status)
