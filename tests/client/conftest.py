"""A scripted daemon: a real ROUTER socket around asynclog_proto.flow.ReceiveFlow, with a journal in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import asynclog
from asynclog import pywriter, ring
from asynclog.process import RUNS
from asynclog.writer import Writer
from tests.client.scripted import ScriptedDaemon


@pytest.fixture
def endpoint(runtime_dir: Path) -> str:
    """Where the scripted daemon of this test listens, when it does."""
    return f"ipc://{runtime_dir}/scripted.sock"


@pytest.fixture
def daemon(endpoint: str) -> Iterator[ScriptedDaemon]:
    """A scripted daemon that runs."""
    scripted = ScriptedDaemon(endpoint)
    scripted.start()
    yield scripted
    scripted.kill()


@pytest.fixture
def begin(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., asynclog.Run]]:
    """`begin(**options)`: an `init` that talks to the scripted daemon; the run is ended with the test."""
    begun: list[asynclog.Run] = []
    monkeypatch.setattr(RUNS, "current", None)

    def init(**options: object) -> asynclog.Run:
        given = {"project": "p", "name": f"run{len(begun)}", "dir": str(tmp_path / "out"), "endpoint": endpoint}
        run = asynclog.init(**{**given, **options})  # type: ignore[arg-type]
        begun.append(run)
        return run

    yield init
    for run in begun:
        run._notices.say = lambda: None  # type: ignore[method-assign]
        run.finish("killed", timeout=0)


@pytest.fixture(params=["compiled", "python"])
def each_writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[pywriter.Writer]:
    """The test runs twice: `log()` compiled, and in Python."""
    kind = Writer if request.param == "compiled" else pywriter.Writer
    monkeypatch.setattr(ring, "Writer", kind)
    return kind
