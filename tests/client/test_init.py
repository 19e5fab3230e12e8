"""What init() decides, and what it refuses before it has touched anything."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog_proto.errors import AsynclogError, ConfigError, UnsafePathError
from tests.client.scripted import ScriptedDaemon
from tests.filesize import files_of_at_most

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"project": "a/b"}, ConfigError, "project 'a/b' can't name a directory"),
        ({"project": None}, ConfigError, "project is a string, not NoneType"),
        ({"name": ".."}, ConfigError, "name '..' can't name a directory"),
        ({"name": 3}, ConfigError, "name is a string"),
        ({"mode": "online"}, ConfigError, "mode is one of auto, offline, disabled, not 'online'"),
        ({"dir": 3}, ConfigError, "dir is a path, not int"),
        ({"backends": "csv"}, TypeError, "backends is None, names, or a mapping"),
        ({"backends": 3}, TypeError, "backends is None, names, or a mapping"),
        ({"backends": [3]}, TypeError, "a name is a str, not 3"),
        ({"backends": {"csv": 3}}, TypeError, "options are a mapping, not 3"),
        ({"backends": ["tensorbord"]}, ValueError, "did you mean 'tensorboard'"),
        ({"backends": {"csv": {"names": object()}}}, ConfigError, "options are None, bool"),
        ({"backends": {"csv": {"names": "a" * 20_000}}}, ConfigError, "mappings of these, in all"),
        (
            {"backends": {"csv": {"flush_intervall": 1}}},
            ConfigError,
            "did you mean 'delivery': {'flush_interval': ...}",
        ),
        ({"rank": 2, "world_size": 2}, ValueError, "rank=2 does not fit world_size=2"),
        ({"endpoint": "udp://127.0.0.1:5555"}, ConfigError, "only ipc://"),
        ({"endpoint": "ipc:///" + "x" * 200 + "/y"}, ConfigError, "longer than the 107 bytes"),
        ({"config": 3}, TypeError, "a mapping, a dataclass"),
    ],
)
def test_a_wrong_argument_is_an_error_and_leaves_nothing(
    options: dict[str, Any], error: type[Exception], text: str, tmp_path: Path, runtime_dir: Path
) -> None:
    before = threading.active_count()
    with pytest.raises(error, match=text.replace("(", "\\(")):
        asynclog.init(**{"project": "p", "name": "r", "dir": str(tmp_path / "out"), **options})
    assert list(tmp_path.iterdir()) == []
    assert list(runtime_dir.iterdir()) == []
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ASYNCLOG_MODE", "on"),
        ("ASYNCLOG_RING_MB", "many"),
        ("ASYNCLOG_RING_MB", "0"),
        ("ASYNCLOG_SPOOL_MB", "-1"),
        ("ASYNCLOG_FLUSH_MS", "nan"),
        ("ASYNCLOG_NAME", "a/b"),
        ("ASYNCLOG_RUNTIME_DIR", "/" + "x" * 200),
    ],
)
def test_a_wrong_variable_is_an_error_that_names_it(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=variable):
        asynclog.init(project="p", dir=str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_directory_that_others_may_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rt").mkdir(mode=0o755)
    monkeypatch.setenv("ASYNCLOG_RUNTIME_DIR", str(tmp_path / "rt"))
    with pytest.raises(UnsafePathError, match="chmod 700"):
        asynclog.init(project="p", name="r", dir=str(tmp_path / "out"))


def test_disabled_is_nothing_at_all(tmp_path: Path, runtime_dir: Path, begin: Begin) -> None:
    threads = threading.active_count()
    run = begin(mode="disabled", config={"a": 1})
    for _ in range(10):
        run.log({"x": 1.0, "y": None})
    run.define("x", reduce="max")
    run.params({"b": 1})
    run.summary(c=1)
    assert run.finish().complete
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []
    assert list(runtime_dir.iterdir()) == []


def test_the_hello_tells_who_this_is(
    daemon: ScriptedDaemon, begin: Begin, tmp_path: Path, runtime_dir: Path, eventually: Eventually
) -> None:
    begin(backends={"csv": None, "jsonl": {"names": [1, {"b": None}]}}, rank=1, world_size=2)
    eventually(lambda: daemon.hellos)
    (hello,) = daemon.hellos
    assert (hello.project, hello.name, hello.dir) == ("p", "run0", str(tmp_path / "out"))
    assert (hello.rank, hello.world_size, hello.pid) == (1, 2, os.getpid())
    assert hello.backends == {"csv": {}, "jsonl": {"names": [1, {"b": None}]}}
    ring = Path(hello.ring)
    assert ring.parent == runtime_dir / "rings"
    assert ring.stat().st_mode & 0o777 == 0o600
    assert ring.parent.stat().st_mode & 0o777 == 0o700
    assert Path(hello.spool).parent.parent == tmp_path / "out" / "p" / "run0"


def test_the_directory_and_the_name_may_come_from_the_environment(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ASYNCLOG_NAME", "named")
    run = begin(name=None, dir="asynclog", mode="offline", project="env")
    assert run.dir == tmp_path / "elsewhere" / "env" / "named"
    assert begin(name=None, mode="offline", project="env").name == "named-2"
    assert begin(dir=tmp_path / "given", mode="offline").dir.parent.parent == tmp_path / "given"


def test_a_current_directory_that_has_gone_is_no_hindrance_where_none_is_needed(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    run = begin(dir=tmp_path / "given", mode="offline", backends={"mlflow": {"tracking_uri": "http://host:5000"}})
    assert run.dir.parent.parent == tmp_path / "given"
    with pytest.raises(ConfigError, match=r"x\.db is relative, and the current directory has gone"):
        begin(dir=tmp_path / "given", mode="offline", backends={"mlflow": {"tracking_uri": "sqlite:///x.db"}})


def test_default_names_of_one_process_differ(tmp_path: Path) -> None:
    script = """
        import asynclog
        names = []
        for _ in range(3):
            run = asynclog.init(project="p", mode="offline", rank=0, world_size=2)
            names.append(run.name)
            run.finish()
        assert names == [names[0], names[0] + "-2", names[0] + "-3"], names
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True, timeout=60)


def test_without_any_place_for_a_ring_plain_memory_serves(
    daemon: ScriptedDaemon, begin: Begin, runtime_dir: Path
) -> None:
    """A real refusal of the kernel, in both places: the limit on a file's size."""
    with files_of_at_most(4096), pytest.warns(AsynclogWarning) as told:
        run = begin()
    texts = [str(one.message) for one in told]
    assert [text.split(":")[1].split(" in ")[0] for text in texts[:2]] == [" no ring of 8192 KiB"] * 2
    assert "do not survive a SIGKILL" in texts[2]
    assert list((runtime_dir / "rings").iterdir()) == []
    run.log({"x": 1.0})
    assert run.finish().complete
    assert daemon.points() == [(0, "x", 1.0)]
    assert daemon.hellos[0].ring == ""


def test_a_rings_directory_that_is_a_link_is_refused(tmp_path: Path, runtime_dir: Path, begin: Begin) -> None:
    (runtime_dir / "rings").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError, match="rings is not a directory of its own"):
        begin()


def test_strict_refuses_a_directory_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(AsynclogError, match="the run's directory"):
        asynclog.init(project="p", name="r", dir=str(tmp_path / "out"), strict=True)


def test_two_runs_at_once_do_not_mix(daemon: ScriptedDaemon, begin: Begin) -> None:
    one, two = begin(), begin()
    assert asynclog.current_run() is two
    for step in range(100):
        one.log({"x": 1.0}, step=step)
        two.log({"y": 2.0}, step=step)
    assert one.finish().complete
    assert two.finish().complete
    assert sorted(len(stream) for stream in daemon.journal.values()) == [102, 102]


def test_importing_and_beginning_a_run_loads_no_library_of_numbers(tmp_path: Path) -> None:
    script = """
        import sys, asynclog
        assert "zmq" not in sys.modules
        run = asynclog.init(project="p", mode="offline")
        run.log({"x": 1.0})
        run.finish()
        assert not {"numpy", "torch", "zmq", "asynclogd", "psutil"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True, timeout=60)
