"""How a process ends that something else decides about: the kernel, a notebook, a launcher, threads of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import asynclog
from asynclog_proto import records
from tests.client.endings import Child, child, left_behind, ready
from tests.client.scripted import ScriptedDaemon

__all__ = ["child"]

pytestmark = pytest.mark.fault("exits")

POINTS = [(step, "x", float(step)) for step in range(1000)]


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """The file that takes a process into a memory cgroup of 200 MB, on a machine that lets us make one."""
    hierarchy = Path("/sys/fs/cgroup/memory")
    if hierarchy.exists():
        limit = "memory.limit_in_bytes"
    else:
        hierarchy, limit = Path("/sys/fs/cgroup"), "memory.max"
    try:
        group = Path(tempfile.mkdtemp(prefix="asynclog-test-", dir=hierarchy))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        if not (group / limit).exists():
            pytest.skip("memory is not limited by cgroups here")
        (group / limit).write_text(str(200 << 20))
        swap = group / limit.replace("memory.", "memory.memsw." if "in_bytes" in limit else "memory.swap.")
        with contextlib.suppress(OSError):
            swap.write_text(str(200 << 20) if "in_bytes" in limit else "0")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def test_what_was_logged_before_an_oom_kill_stays(
    small_memory: Path, child: Child, tmp_path: Path, runtime_dir: Path
) -> None:
    """The kernel kills it for its memory; the daemon would deliver the ring that it leaves."""
    script = f"""
        open({str(small_memory)!r}, "w").write(str(os.getpid()))
        hoard = []
        while True:
            hoard.append(bytearray(1 << 20))
            run.log({{"x": float(1000 + len(hoard))}})
    """
    process = child(script)
    assert process.wait(60) == -signal.SIGKILL
    found = left_behind(tmp_path, runtime_dir)
    assert sorted(found) == list(range(len(found)))
    values = [record.values for _, record in sorted(found.items()) if isinstance(record, records.Row)]
    assert len(values) > 1020
    assert values == [(float(step),) for step in range(1000)] + [
        (float(step),) for step in range(1001, len(values) + 1)
    ]


def test_a_process_without_address_space_delivers_what_it_logged(daemon: ScriptedDaemon, child: Child) -> None:
    """`ulimit -v`: Python raises MemoryError, and the run ends as after any exception. Where there is no room for a
    thread's memory either (glibc reserves 128 MB for it), libc ends the process, as an OOM kill would.
    """
    script = """
        import resource
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), resource.RLIM_INFINITY))
        bytearray(1 << 30)
    """
    process = child(script)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1, errors
    assert errors.rstrip().endswith("MemoryError")
    assert daemon.points() == POINTS
    assert daemon.records()[-1] == records.End("failed")


def test_daemon_threads_that_go_on_logging_neither_hold_up_nor_break_the_end(
    daemon: ScriptedDaemon, child: Child
) -> None:
    """Their calls after the end are counted; they die with the interpreter, wherever they are."""
    script = """
        def work(name):
            for step in range(1000, 1 << 40):
                run.log({name: 1.0}, step=step)
        threads = [threading.Thread(target=work, args=(f"t{number}",), daemon=True) for number in range(4)]
        for thread in threads: thread.start()
        while min(run.stats.issued, 3000) < 3000: time.sleep(0.001)
    """
    process = child(script)
    ready(process)
    before = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert time.monotonic() - before < 30
    assert "Traceback" not in errors
    assert "Fatal" not in errors
    assert daemon.points()[:1000] == POINTS
    assert len(daemon.points()) >= 2000
    assert daemon.records()[-1] == records.End("success")


def spawned(endpoint: str, directory: str, way: str) -> None:
    """A rank that multiprocessing has spawned."""
    run = asynclog.init("p", "child", dir=directory, endpoint=endpoint)
    for step in range(1000):
        run.log({"x": float(step)})
    if way == "exception":
        raise ZeroDivisionError
    if way == "sys.exit":
        raise SystemExit(3)
    if way == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("way", "code", "status"), [("return", 0, "success"), ("exception", 1, "failed"), ("sys.exit", 3, "failed")]
)
def test_a_spawned_child_ends_its_own_run(
    way: str, code: int, status: str, daemon: ScriptedDaemon, endpoint: str, tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=spawned, args=(endpoint, str(tmp_path), way))
    process.start()
    process.join(60)
    assert process.exitcode == code
    assert daemon.points() == POINTS
    assert daemon.records()[-1] == records.End(status)


def rank(number: int, endpoint: str, directory: str) -> None:
    """A rank of mp.spawn: the second one fails once both have logged."""
    os.environ.update(RANK=str(number), WORLD_SIZE="2")
    run = asynclog.init("p", "spawned", dir=directory, endpoint=endpoint)
    for step in range(100):
        run.log({"x": float(number)}, step=step)
    logged = Path(directory, "logged")
    if number == 1:
        while not logged.exists():
            time.sleep(0.001)
        raise ZeroDivisionError
    logged.touch()
    signal.pause()  # in a collective with the one that fails: mp.spawn ends it by SIGTERM


@pytest.mark.torch
def test_ranks_of_mp_spawn_end_as_they_do_and_leave_what_they_logged(
    daemon: ScriptedDaemon, endpoint: str, tmp_path: Path, runtime_dir: Path
) -> None:
    spawn = pytest.importorskip("torch").multiprocessing.spawn
    with pytest.raises(Exception, match="ZeroDivisionError"):
        spawn(rank, args=(endpoint, str(tmp_path)), nprocs=2)
    hellos = {hello.rank: hello.incarnation for hello in daemon.hellos}
    failed = [records.decode(data) for data in daemon.journal[hellos[1]]]
    assert [record.step for record in failed if isinstance(record, records.Row)] == list(range(100))
    assert failed[-1] == records.End("failed")
    left = left_behind(tmp_path, runtime_dir)
    journaled = dict(enumerate(map(records.decode, daemon.journal[hellos.get(0, "")])))
    rows = [record for record in {**journaled, **left}.values() if isinstance(record, records.Row)]
    assert [row.step for row in rows] == list(range(100))


KERNEL = """
import asynclog, sys
print("ready", flush=True)
names = {}
for cell in iter(sys.stdin.readline, "shutdown\\n"):
    try:
        exec(eval(cell), names)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    else:
        print("done", flush=True)
"""
"""What a notebook's kernel is to a run: it executes cells, survives Ctrl-C, and ends when it is asked to."""

CELL = """
import asynclog
run = asynclog.init("p", "notebook", dir="out")
for step in range({steps}):
    run.log({{"x": {value}}}, step=step)
"""


class Kernel:
    """Does what jupyter_client's KernelManager does with its process."""

    def __init__(self, child: Child) -> None:
        self.process = child(KERNEL, before="")
        ready(self.process)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def run(self, cell: str) -> None:
        self.tell(repr(cell))
        assert self.answer() == "done\n"

    def restart(self, patience: float) -> int:
        """It is asked to end, then SIGTERM, then SIGKILL, each after half of `patience` (5 s there); its exit code."""
        self.tell("shutdown")
        for end in (self.process.terminate, self.process.kill):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(patience / 2)
            end()
        return self.process.wait(10)


def test_a_kernel_that_is_restarted_delivers_and_the_next_one_goes_on(daemon: ScriptedDaemon, child: Child) -> None:
    for _ in range(2):
        kernel = Kernel(child)
        kernel.run(CELL.format(steps=100, value="float(step)"))
        assert kernel.restart(patience=20) == 0
    ends = [records.decode(stream[-1]) for stream in daemon.journal.values()]
    assert ends == [records.End("success")] * 2


def test_a_kernel_that_is_killed_while_it_waits_for_a_daemon_leaves_its_ring(
    child: Child, tmp_path: Path, runtime_dir: Path
) -> None:
    """Nobody is there: the end would take longer than a notebook waits."""
    kernel = Kernel(child)
    kernel.run(CELL.format(steps=100, value="float(step)"))
    assert kernel.restart(patience=1) == -signal.SIGTERM
    assert len(left_behind(tmp_path, runtime_dir)) >= 101


def test_a_cell_that_is_interrupted_leaves_the_run_open(daemon: ScriptedDaemon, child: Child) -> None:
    kernel = Kernel(child)
    kernel.run(CELL.format(steps=10, value="0.0"))
    kernel.tell(repr("import time; run.log({'x': 1.0}, step=10); print('sleeps', flush=True); time.sleep(60)"))
    assert kernel.answer() == "sleeps\n"
    kernel.process.send_signal(signal.SIGINT)
    assert kernel.answer() == "interrupted\n"
    kernel.run("run.log({'x': 2.0}, step=11)")
    assert kernel.restart(patience=20) == 0
    assert [value for _, _, value in daemon.points()] == [0.0] * 10 + [1.0, 2.0]
    assert daemon.records()[-1] == records.End("success")
