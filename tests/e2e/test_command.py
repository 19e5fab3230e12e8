"""`asynclog run` around real commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.oracle import expect_each_once, returned, value

pytestmark = pytest.mark.timeout(180)

HERE = Path(__file__).parent
RUN = (sys.executable, "-m", "asynclogd", "run")


def test_it_delivers_prints_the_ledger_and_where_to_look(start, tmp_path: Path, output, runtime_dir: Path) -> None:
    command = start(*RUN, "--", sys.executable, HERE / "worker.py", tmp_path, "--steps", 300)
    assert command.wait(90) == 0
    expect_each_once(tmp_path / "p" / "run", "loss", {step: value(0, step) for step in range(300)})
    assert "values issued" in output()
    assert "tensorboard --logdir" in output()
    assert [path.name for path in runtime_dir.iterdir() if path.name.startswith("run-")] == []


@pytest.mark.parametrize(("script", "code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_is_the_commands(start, script: str, code: int) -> None:
    assert start(*RUN, "--", sys.executable, "-c", script).wait(60) == code


def test_a_command_that_is_not_there_is_said(start, output) -> None:
    assert start(*RUN, "--", "no-such-command-here").wait(60) == 127
    assert "no-such-command-here" in output()
    assert "asynclog.init()" not in output()


def test_a_wrong_setting_is_told_before_anything_starts(start, output, tmp_path: Path) -> None:
    config = tmp_path / "asynclog.toml"
    config.write_text('[daemon]\ndurability = "maybe"\n')
    assert start(*RUN, "--config", config, "--", "touch", tmp_path / "started").wait(60) == 2
    assert not (tmp_path / "started").exists()
    for part in (str(config), "daemon.durability", "'process', 'fsync'"):
        assert part in output()


def test_signals_reach_the_command(start, tmp_path: Path, eventually) -> None:
    script = (
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    command = start(*RUN, "--", sys.executable, "-c", script)
    eventually((tmp_path / "ready").exists, 30, "the command is running")
    os.kill(command.pid, signal.SIGTERM)
    assert command.wait(60) == 5


def test_a_signal_to_the_whole_group_reaches_the_command_once(start, tmp_path: Path, eventually) -> None:
    script = (
        "import os, signal, sys, time, pathlib\n"
        # Not a file object, whose end would swallow what the other handler raises meanwhile.
        f"told = os.open({str(tmp_path / 'told')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "signal.signal(signal.SIGINT, lambda *_: os.write(told, b'x'))\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "while True: time.sleep(0.01)\n"
    )
    command = start(*RUN, "--", sys.executable, "-c", script)
    eventually((tmp_path / "ready").exists, 30, "the command is running")
    os.killpg(command.pid, signal.SIGINT)
    eventually((tmp_path / "told").read_text, 30, "SIGINT has arrived")
    os.kill(command.pid, signal.SIGTERM)
    assert command.wait(60) == 3
    assert (tmp_path / "told").read_text() == "x"


def test_a_rank_that_dies_before_the_daemon_knew_it_loses_nothing(start, tmp_path: Path, output) -> None:
    script = (
        "import asynclog, os, signal\n"
        f"run = asynclog.init(project='p', name='run', dir={str(tmp_path)!r})\n"
        "for step in range(100): run.log({'loss': step / 2}, step=step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert start(*RUN, "--", sys.executable, "-c", script).wait(60) == 137
    expect_each_once(tmp_path / "p" / "run", "loss", {step: step / 2 for step in range(100)})
    assert "rank 0 died" in output()


def test_a_killed_daemon_is_started_again(start, tmp_path: Path, runtime_dir: Path, eventually, output) -> None:
    command = start(*RUN, "--", sys.executable, HERE / "worker.py", tmp_path, "--steps", 3000, "--period", 0.002)
    told = tmp_path / "returned-run-0"
    eventually(lambda: returned(told) > 500, 60, "500 steps logged")
    lock = next(runtime_dir.glob("run-*/daemon.lock"))
    os.kill(int(lock.read_text()), signal.SIGKILL)
    assert command.wait(120) == 0
    expect_each_once(tmp_path / "p" / "run", "loss", {step: value(0, step) for step in range(3000)})
    assert "started again once" in output()


@pytest.mark.fault("two-at-once")
def test_a_second_daemon_on_the_same_place_is_refused(start, runtime_dir: Path, eventually, output) -> None:
    first = start(sys.executable, "-m", "asynclogd", "daemon")
    eventually((runtime_dir / "daemon.sock").exists, 30, "the first daemon serves")
    second = subprocess.run([sys.executable, "-m", "asynclogd", "daemon"], capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert f"pid {first.pid}" in second.stderr
    first.terminate()
    assert first.wait(30) == 0
