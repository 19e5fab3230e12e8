"""Starting real processes, and ending them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from asynclogd.cli import daemons
from tests.e2e.stored import delivered

HERE = Path(__file__).parent

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(*arguments)`: a process in its own group, killed with it at the end; output to files in tmp_path."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: object, **environ: str) -> subprocess.Popen[str]:
        log = (tmp_path / f"process-{len(processes)}.log").open("w")
        process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environ},
            start_new_session=True,
            cwd=tmp_path,
        )
        log.close()
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def worker(start: Start, tmp_path: Path) -> Start:
    """`worker(*options)`: worker.py with those options, its output directory tmp_path."""
    return lambda *options, **environ: start(sys.executable, HERE / "worker.py", tmp_path, *options, **environ)


@pytest.fixture
def status(runtime_dir: Path) -> Callable[[], list[dict[str, Any]]]:
    """`status()`: what `asynclog status --json` prints, asked from here: it is waited with, and a process is slow."""
    return lambda: json.loads(json.dumps([report for _, report in daemons.reports(runtime_dir)]))


@pytest.fixture
def output(tmp_path: Path) -> Callable[[], str]:
    """`output()`: all that the processes have printed."""
    return lambda: "\n".join(log.read_text() for log in sorted(tmp_path.glob("process-*.log")))


@pytest.fixture(autouse=True)
def tell_output_of_failures(request: pytest.FixtureRequest, tmp_path: Path, runtime_dir: Path) -> Iterator[None]:
    """Print the processes' output when the test has failed."""
    yield
    for log in [*sorted(tmp_path.glob("process-*.log")), *sorted(runtime_dir.glob("**/daemon.log"))]:
        print(f"--- {log.name}\n{log.read_text()[-4000:]}")


class Puppet:
    """A rank in a process of its own. A call waits for its answer; `ask` and `answer` are its halves."""

    def __init__(self, out: Path, rank: int, world: int, mode: str, *resume: str) -> None:
        command = [sys.executable, str(HERE / "puppet.py"), str(out), str(rank), str(world), mode, *resume]
        self._errors = (out / f"process-puppet{rank}.log").open("w")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=out
        )
        assert self.answer() == "ready"

    def ask(self, method: str, *arguments: object, **keywords: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, arguments, keywords]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def __call__(self, method: str, *arguments: object, **keywords: object) -> Any:
        self.ask(method, *arguments, **keywords)
        return self.answer()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._errors.close()


@pytest.fixture
def puppets(tmp_path: Path) -> Iterator[Callable[..., list[Puppet]]]:
    """`puppets(world, mode="auto")`: the ranks of a run, which do what they are told; `resume` names one to resume."""
    made: list[Puppet] = []

    def begin(world: int, mode: str = "auto", resume: str | None = None) -> list[Puppet]:
        ranks = [Puppet(tmp_path, rank, world, mode, *([resume] if resume else [])) for rank in range(world)]
        made.extend(ranks)
        return ranks

    yield begin
    for puppet in made:
        puppet.close()


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that are made once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def finished(kept_runs: Path) -> Callable[..., Path]:
    """`finished(directory, name="run", backends={"csv": {}}, steps=100)`: see `stored.delivered`."""

    def make(directory: Path, name: str = "run", backends: Mapping[str, Any] | None = None, steps: int = 100) -> Path:
        chosen = {"csv": {}} if backends is None else backends
        kept = kept_runs / hashlib.sha256(json.dumps([chosen, steps]).encode()).hexdigest()[:16]
        if not kept.exists():
            delivered(kept, chosen, steps)
        shutil.copytree(kept / "p" / "run", directory / "p" / name)
        return directory / "p" / name

    return make
