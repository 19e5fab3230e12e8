"""Spawning the daemon: a program in its place, so that only the launcher is tried."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from asynclog.launcher import Launcher, answers, daemon_environ

Eventually = Callable[..., None]

# What asynclogd does as far as a launcher sees: a lock for life, a socket, 0 when another holds the lock.
STAND_IN = """
import fcntl, os, socket, sys, time
runtime = sys.argv[sys.argv.index("--runtime-dir") + 1]
with open(runtime + "/spawned", "a") as file:
    file.write(f"{os.getpid()} {os.getsid(0)} {os.environ.get('RANK', '-')} {os.getcwd()}\\n")
lock = open(runtime + "/daemon.lock", "w")
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(0)
time.sleep(0.3)
path = runtime + "/daemon.sock"
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(128)
while True:
    server.accept()[0].close()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`asynclogd` as found first on the path of a child: the stand-in above, which a test may change."""
    package = tmp_path / "path" / "asynclogd"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    return package / "__main__.py"


def launcher_of(runtime: Path, said: list[str]) -> Launcher:
    return Launcher(f"ipc://{runtime}/daemon.sock", runtime, spawns=True, tell=lambda _, text: said.append(text))


def until(launcher: Launcher, condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        launcher.ensure(time.monotonic())
        time.sleep(0.01)


def spawned(runtime: Path) -> list[list[str]]:
    path = runtime / "spawned"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_a_daemon_is_spawned_in_a_session_of_its_own(
    stand_in: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    said: list[str] = []
    launcher = launcher_of(runtime_dir, said)
    until(launcher, lambda: answers(launcher.endpoint))
    launcher.connected()
    launcher.close()
    ((pid, session, rank, cwd),) = spawned(runtime_dir)
    assert (session, rank, cwd) == (pid, "-", str(runtime_dir))
    assert (runtime_dir / "daemon.log").stat().st_mode & 0o777 == 0o600
    assert said == []


def test_a_race_of_eight_processes_spawns_one(stand_in: Path, runtime_dir: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from asynclog.launcher import Launcher, answers
        runtime = Path(sys.argv[1])
        launcher = Launcher(f"ipc://{runtime}/daemon.sock", runtime, spawns=True, tell=print)
        while not answers(launcher.endpoint):
            launcher.ensure(time.monotonic())
            time.sleep(0.01)
        launcher.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(runtime_dir)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert [racer.communicate(timeout=60)[0] for racer in racers] == [""] * 8
    assert len(spawned(runtime_dir)) == 1


def test_a_daemon_that_dies_is_spawned_again(stand_in: Path, runtime_dir: Path) -> None:
    launcher = launcher_of(runtime_dir, [])
    until(launcher, lambda: answers(launcher.endpoint))
    launcher.connected()
    psutil.Process(int(spawned(runtime_dir)[0][0])).kill()
    until(launcher, lambda: not answers(launcher.endpoint))
    until(launcher, lambda: answers(launcher.endpoint))
    assert len(spawned(runtime_dir)) == 2
    launcher.close()


def test_a_daemon_that_can_not_start_is_told_with_its_log(stand_in: Path, runtime_dir: Path) -> None:
    stand_in.write_text("raise SystemExit('no such thing')")
    said: list[str] = []
    launcher = launcher_of(runtime_dir, said)
    until(launcher, lambda: said)
    assert "ended with code 1" in said[0]
    assert str(runtime_dir / "daemon.log") in said[0]
    assert "no such thing" in (runtime_dir / "daemon.log").read_text()
    launcher.close()


def test_the_spawns_grow_rarer(stand_in: Path, runtime_dir: Path) -> None:
    """Time is an argument: an hour of failures in a loop."""
    stand_in.write_text(f"open({str(runtime_dir / 'spawned')!r}, 'a').write('x\\n'); raise SystemExit(1)")
    launcher = launcher_of(runtime_dir, [])
    now, seen = 0.0, []
    while now < 100:
        launcher.ensure(now)
        if launcher._process is not None and (launcher._process.pid, now) not in seen:
            launcher._process.wait()
            seen.append((launcher._process.pid, now))
        now += 1.0
    times = [now for _, now in seen]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 2
    assert max(gaps) <= 32
    launcher.close()


def test_at_the_runs_end_a_daemon_is_spawned_at_once(stand_in: Path, runtime_dir: Path) -> None:
    """However rare the spawns have become. Time is an argument here too."""
    stand_in.write_text("raise SystemExit(1)")
    launcher = launcher_of(runtime_dir, [])
    now, starts = 0.0, set()
    while now < 25:
        if now == 20.0:
            launcher.hurry()
        launcher.ensure(now)
        if launcher._process is not None:
            launcher._process.wait(10)
            starts.add(launcher._started)
        now += 0.5
    launcher.close()
    late = sorted(start for start in starts if start > 10)
    assert late[0] < 20 <= late[1] <= 21
    assert late[1] - late[0] < 16, "its turn would have come 16 s after the one before"


def test_a_named_endpoint_is_waited_for_and_never_spawned(runtime_dir: Path) -> None:
    said: list[str] = []
    launcher = Launcher(
        f"ipc://{runtime_dir}/x.sock", runtime_dir, spawns=False, tell=lambda _, text: said.append(text)
    )
    for now in range(10):
        launcher.ensure(float(now))
    assert "nothing answers at" in said[0]
    assert list(runtime_dir.iterdir()) == []


def test_a_socket_that_nobody_listens_on_does_not_answer(runtime_dir: Path) -> None:
    path = runtime_dir / "stale.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert answers(f"ipc://{path}")
    assert path.exists()
    assert not answers(f"ipc://{path}")


def test_the_daemon_gets_no_rank() -> None:
    environ = {"RANK": "1", "OMPI_COMM_WORLD_RANK": "1", "TORCHELASTIC_RUN_ID": "x", "SLURM_PROCID": "1"}
    assert daemon_environ({**environ, "PATH": "p", "SLURM_JOB_ID": "7"}) == {"PATH": "p", "SLURM_JOB_ID": "7"}
    assert os.environ
