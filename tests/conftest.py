"""What every test stands on: no cluster in the environment, a private runtime directory, no process left."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

pytest_plugins = ("tests.faults.plugin",)

FOREIGN_VARIABLES = (
    *("ASYNCLOG_", "COMET_", "MLFLOW_", "NEPTUNE_"),
    *("SLURM_", "OMPI_", "PMI_", "PMIX_", "TORCHELASTIC_", "MASTER_"),
)
RANK_VARIABLES = frozenset({"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"})

# In CI the examples are the same each time, so that red means the change; at home they vary.
settings.register_profile("home", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")


def pytest_configure(config: pytest.Config) -> None:
    """Take this machine's job out of the environment, for fixtures of every scope and for child processes."""
    for name in list(os.environ):
        if name.startswith(FOREIGN_VARIABLES) or name in RANK_VARIABLES:
            del os.environ[name]
    # Without these, SDKs ask the network or the user on first use.
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="1", WANDB_MODE="offline", COMET_CONFIG=os.devnull)
    # The tests keep all cores busy themselves, and would be flushed seldom.
    os.environ["ASYNCLOG_FLUSH_MS"] = "100"
    # One for a process, read when trackio is imported: its default is in the user's home.
    trackio = os.environ["TRACKIO_DIR"] = tempfile.mkdtemp(prefix="al-trackio-")
    config.add_cleanup(lambda: shutil.rmtree(trackio, ignore_errors=True))


@contextlib.contextmanager
def own_runtime_dir() -> Iterator[Path]:
    """A runtime directory in the environment, short enough for a socket; its daemons are ended with the block."""
    path = Path(tempfile.mkdtemp(prefix="al-"))
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ASYNCLOG_RUNTIME_DIR", str(path))
            yield path
    finally:
        if any(path.iterdir()):
            end_processes_of(path)
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def runtime_dir() -> Iterator[Path]:
    """A runtime directory of this test's own."""
    with own_runtime_dir() as path:
        yield path


def end_processes_of(runtime: Path) -> None:
    """Kill, by pid, every process but this one that was started with that runtime directory.

    Nobody looks at it any more: a daemon that is asked to end in order takes a quarter of a second, in every test.
    """
    processes = [process for process in psutil.process_iter() if _runtime_of(process) == str(runtime)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself, which is what is wanted
            process.kill()
    end = time.monotonic() + 5
    while time.monotonic() < end and not all(map(has_ended, processes)):
        time.sleep(0.005)


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more, though its parent may not have asked for its code yet: a container's first process
    takes seconds for it, or never does.
    """
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _runtime_of(process: psutil.Process) -> str | None:
    if process.pid == os.getpid():
        return None
    try:
        # multiprocessing's own, which later tests use too; it ends with its parent.
        tracks = any("multiprocessing.resource_tracker" in argument for argument in process.cmdline())
        return None if tracks else process.environ().get("ASYNCLOG_RUNTIME_DIR")
    except psutil.Error:
        return None


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """`eventually(condition, deadline=30, what="...")`: waits until it holds, fails at the deadline."""

    def wait(condition: Callable[[], object], deadline: float = 30.0, what: str = "the condition") -> None:
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            if waited > deadline:
                pytest.fail(f"after {deadline:g} s {what} still does not hold")
            # A daemon that is asked all the time has none for its work: the longer, the more seldom.
            time.sleep(min(max(0.01, waited / 20), 0.25))

    return wait
