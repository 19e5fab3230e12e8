"""W&B online: W&B's own uploader sends what we write to a server on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from asynclogd.backends import _wandbplace, _wandbupload
from asynclogd.backends._wandbupload import UploadError
from asynclogd.backends.base import Params, PermanentError, Position, Rewind, RunEnd, RunInfo, Summary
from asynclogd.backends.wandb import WandbBackend, WandbConfig
from asynclogd.samples import Content, content
from asynclogd.testing import table
from tests.daemon.backends import wandbreader
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.wandbserver import KEY, Reply, Server, serving

pytestmark = pytest.mark.sdk

HELD_BY = """
import sys, time
from pathlib import Path
from asynclogd.backends.base import RunInfo
from asynclogd.backends.wandb import WandbBackend, WandbConfig
from asynclogd.samples import table
own = Path(sys.argv[1])
backend = WandbBackend(WandbConfig(mode="online", host=sys.argv[2]))
backend.open(RunInfo("digits", "run-1", own.parent, own), None)
backend.write([table(["a"], range(3))])
backend.flush()
print("flushed", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings or netrc of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "home").mkdir()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


Open = Callable[..., WandbBackend]


@pytest.fixture
def opened(server: Server) -> Iterator[Open]:
    """Opens a backend; what a test leaves open is closed after it."""
    made: list[WandbBackend] = []

    def open_it(run: RunInfo, position: Position | None = None, **options: Any) -> WandbBackend:
        made.append(WandbBackend(WandbConfig(**{"mode": "online", "host": server.url, "id": "abc", **options})))
        made[-1].open(run, position)
        return made[-1]

    yield open_it
    for backend in made:
        backend.close("")


def info(directory: Path, **more: Any) -> RunInfo:
    own = directory / "run-1" / "wandb"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, **more)


def arrived(server: Server) -> Content:
    return [
        (name, row["step"], value)
        for _, row in sorted(server.rows.items())
        for name, value in row.items()
        if not name.startswith("_") and name != "step" and not isinstance(value, dict)
    ]


def uploaders() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended, whether or not someone has reaped them."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_all_of_a_run_is_at_wandb_when_its_end_is_flushed(tmp_path: Path, server: Server, opened: Open):
    store = Store()
    backend = opened(info(tmp_path, read_blob=store.read), tags=("a",), notes="n")
    points = [table(["train/loss", "acc"], range(50)), table(["late"], [3])]
    assert not backend.local
    backend.write([Params({"lr": 0.1}), points[0], store.item("note", "text", {}, 7, text="hello")])
    backend.flush()
    (process,) = [each for each in running(uploaders()) if "_wandbsync" in " ".join(each.cmdline())]
    assert KEY not in " ".join(process.cmdline())
    backend.write([points[1], Summary({"best": 0.5}), RunEnd("failed")])
    backend.flush()
    assert not running(uploaders())
    assert sorted(arrived(server)) == sorted(content(points))
    assert server.config("abc") == {"lr": 0.1}
    about = server.runs["abc"]
    assert (about["project"], about["displayName"], about["tags"], about["notes"]) == ("digits", "run-1", ["a"], "n")
    assert server.summary["best"] == 0.5
    assert server.exit_code == 1
    (page,) = [data for name, data in server.files.items() if name.endswith(".html")]
    assert page == b"<pre>hello</pre>"
    assert len(server.lines) == len(server.rows) == 52
    backend.close("failed")


def test_rows_that_are_sent_again_count_once(tmp_path: Path, server: Server, opened: Open):
    """A daemon was killed after a flush whose position it had not journaled; all of that flush is at W&B."""
    run, points = info(tmp_path), [table(["a"], range(20)), table(["a"], range(20, 40)), table(["b"], range(5))]
    backend = opened(run)
    backend.write([points[0]])
    position = backend.flush()
    backend.write([points[1], RunEnd("failed")])
    backend.flush()
    assert len(server.rows) == 40
    backend = opened(run, position)
    backend.write([points[1], points[2], RunEnd("success")])
    backend.flush()
    assert sorted(arrived(server)) == sorted(content(points))
    assert len(server.lines) > len(server.rows) == 45
    assert server.exit_code == 0


def test_a_run_that_is_taken_up_again_goes_on(tmp_path: Path, server: Server, opened: Open):
    run, points = info(tmp_path), [table(["a"], range(5)), table(["a"], range(5, 9))]
    backend = opened(run)
    backend.write([points[0], RunEnd("failed")])
    position = backend.flush()
    backend.close("failed")
    asked = len(server.asked)
    backend = opened(run, position)
    backend.flush()
    assert len(server.asked) == asked  # all is there
    backend.write([points[1], RunEnd("success")])
    backend.flush()
    backend.close("success")
    assert sorted(arrived(server)) == sorted(content(points))
    assert server.exit_code == 0


def test_a_run_of_something_else_goes_on_behind_its_last_row_whatever_is_sent_again(
    tmp_path: Path, server: Server, opened: Open
):
    others = {step: {"_step": step, "other": step} for step in range(5)}
    server.rows.update(others)
    run, points = info(tmp_path), [table(["a"], range(4)), table(["a"], range(4, 6))]
    backend = opened(run)
    backend.write([points[0], RunEnd("failed")])
    position = backend.flush()
    backend.close("failed")
    backend = opened(run, position)
    backend.write([points[1]])
    backend.flush()
    backend.write([Rewind(6, 1), RunEnd("success")])  # nothing is superseded: all of it is sent from a new file
    backend.flush()
    backend.close("success")
    backend = opened(run)  # and from one that is begun anew
    backend.write([*points, RunEnd("success")])
    backend.flush()
    assert {step: server.rows[step] for step in range(5)} == others
    ours = [(row["_step"], row["step"]) for step, row in sorted(server.rows.items()) if step >= 5]
    assert ours == [(5 + step, step) for step in range(6)]


def test_wrong_credentials_are_one_clear_error_and_nothing_is_lost(tmp_path: Path, server: Server, opened: Open):
    run, refusal = info(tmp_path), "user is not logged in"
    server.trouble = lambda path, _: (401, {}, {"errors": [{"message": refusal}]}) if "graphql" in path else None
    backend = opened(run)
    backend.write([table(["a"], range(5)), RunEnd("success")])
    with pytest.raises(UploadError, match=refusal) as raised:
        backend.flush()
    assert server.url in str(raised.value)
    assert KEY not in str(raised.value)
    server.trouble = lambda _path, _count: None
    backend = opened(run)
    backend.write([table(["a"], range(5)), RunEnd("success")])
    backend.flush()
    assert len(server.rows) == 5


def test_a_server_in_trouble_is_asked_again(tmp_path: Path, server: Server, opened: Open):
    troubles: list[Reply] = [(500, {}, {}), (429, {"Retry-After": "1"}, {})]

    def trouble(path: str, _count: int) -> Reply | None:
        return troubles.pop() if "file_stream" in path and troubles else None

    server.trouble = trouble
    backend = opened(info(tmp_path))
    points = table(["a"], range(5))
    backend.write([points, RunEnd("success")])
    backend.flush()
    assert not troubles
    assert sorted(arrived(server)) == sorted(content([points]))


def test_an_upload_that_gave_up_is_an_error_of_the_next_flush(
    tmp_path: Path, server: Server, opened: Open, eventually: Callable[..., None]
):
    server.trouble = lambda path, _: (404, {}, {"error": "no such run"}) if "file_stream" in path else None
    backend = opened(info(tmp_path))
    backend.write([table(["a"], range(5))])
    backend.flush()
    eventually(lambda: "Fatal error while uploading data" in backend.trouble(), what="that it is told of")

    def refused() -> bool:
        try:
            backend.flush()
        except UploadError as error:
            return "Fatal error while uploading data" in str(error)
        return False

    eventually(refused, what="the error")


def test_what_the_uploader_tries_again_is_told_of_at_once(
    tmp_path: Path, server: Server, opened: Open, eventually: Callable[..., None]
):
    server.trouble = lambda path, _: (500, {}, {}) if "file_stream" in path else None
    backend = opened(info(tmp_path))
    assert backend.trouble() == ""
    backend.write([table(["a"], range(5))])
    backend.flush()
    told = f"W&B at {server.url}: its uploader retries: HTTP 500 from {server.url}/files/me/digits/abc/file_stream"
    eventually(lambda: backend.trouble() == told, what="that it is told of")
    backend.close("")
    assert backend.trouble() == ""


def test_a_server_that_is_down_delays_no_flush(tmp_path: Path):
    with serving() as server:
        url = server.url
    run = info(tmp_path)
    backend = WandbBackend(WandbConfig(mode="online", host=url, id="abc"))
    backend.open(run, None)
    backend.write([table(["a"], range(5))])
    position = backend.flush()
    backend.close("")
    assert not running(uploaders())
    with serving(int(url.rpartition(":")[2])) as server:
        backend.open(run, position)
        backend.write([RunEnd("success")])
        backend.flush()
        assert len(server.rows) == 5


def test_nothing_is_left_running_by_a_daemon_that_is_killed(
    tmp_path: Path, server: Server, eventually: Callable[..., None]
):
    own = info(tmp_path).own_dir
    with subprocess.Popen(
        [sys.executable, "-c", HELD_BY, str(own), server.url], stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == "flushed\n"
        eventually(lambda: server.runs, what="that it is uploading")
        left = psutil.Process(held.pid).children(recursive=True)
        assert len(left) == 2
        os.kill(held.pid, signal.SIGKILL)
    eventually(lambda: not running(left), what="that they have ended")


def test_wandb_sync_takes_what_was_written_offline(tmp_path: Path, server: Server, opened: Open):
    store = Store()
    run = info(tmp_path, read_blob=store.read)
    backend = opened(run, mode="offline")
    points = [table(["train/loss", "acc"], range(300)), table(["late"], [3])]
    backend.write([Params({"lr": 0.1}), *points, store.item("note", "text", {}, 7, text="hello"), RunEnd("success")])
    backend.flush()
    backend.close("success")
    environment = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_ERROR_REPORTING": "false"}
    command = [sys.executable, "-m", "wandb", "sync", str(wandbreader.file_of(run.own_dir).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "ERROR" not in done.stderr
    assert sorted(arrived(server)) == sorted(content(points))
    assert server.exit_code == 0
    assert any(name.endswith(".html") for name in server.files)


def test_it_is_online_where_there_are_credentials(tmp_path: Path):
    (tmp_path / "netrc").write_text("machine wandb.mine.org login user password x\n")
    (tmp_path / "settings").write_text("[default]\nbase_url = https://wandb.mine.org\n")
    key, there = {"WANDB_API_KEY": "k"}, {"NETRC": str(tmp_path / "netrc"), "HOME": str(tmp_path / "home")}
    for mode, host, file, environment, expected in (
        ("", "", "", {"HOME": "/nowhere"}, False),
        ("", "", "", key, True),
        ("offline", "", "", key, False),
        ("dryrun", "", "", key, False),
        ("disabled", "", "", key, False),
        ("online", "", "", {}, True),
        ("shared", "", "", {}, True),
        ("run", "", "", {}, True),
        ("", "", "/a/file", {}, True),
        ("", "", "", {"WANDB_IDENTITY_TOKEN_FILE": "/a"}, True),
        ("", "", "", there, False),
        ("", "https://wandb.mine.org/", "", there, True),
        ("", "", "", there | {"WANDB_BASE_URL": "https://wandb.mine.org"}, True),
        ("", "", "", there | {"WANDB_CONFIG_DIR": str(tmp_path)}, True),
        ("", "", "", {"NETRC": str(tmp_path / "none")}, False),
        ("", "", "", {"HOME": str(tmp_path / "home")}, False),
    ):
        assert _wandbplace.online(mode, host, file, environment) is expected, (mode, host, file, environment)


def test_what_the_uploader_logs_is_bounded(tmp_path: Path, server: Server, opened: Open):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], range(5))])
    backend.flush()
    long = run.own_dir / "upload" / "wandb" / "logs" / "debug.log"
    long.parent.mkdir(parents=True, exist_ok=True)
    long.write_bytes(bytes(1 << 21))
    backend.flush()
    assert long.stat().st_size == 0


def test_a_file_of_credentials_is_its_owners_alone(
    tmp_path: Path, server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    key = tmp_path / "key"
    with pytest.raises(PermanentError, match="can't be read"):
        opened(info(tmp_path), credentials_file=str(key))
    key.write_text("f" * 40 + "\n")
    key.chmod(0o644)
    with pytest.raises(PermanentError, match="chmod 600"):
        opened(info(tmp_path), credentials_file=str(key))
    key.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    login = _wandbplace.login(server.url, "~/key", {})
    environment = login.environment({"WANDB_API_KEY": "other", "WANDB_SERVICE": "x", "PATH": "/bin"}, tmp_path)
    assert environment["WANDB_API_KEY"] == "f" * 40
    assert "WANDB_SERVICE" not in environment


@pytest.mark.fault("clock-moved")
def test_a_request_that_was_tried_again_before_the_clock_was_set_back_is_not_told_for_a_day(tmp_path: Path) -> None:
    at = 1.8e9
    line = {"time": "2027-01-15T08:00:00.5", "msg": "api: retrying HTTP request", "error": "refused"}
    (tmp_path / "debug-sync.1.log").write_text(json.dumps(line))
    assert _wandbupload._retried(tmp_path, at + 10) == "its uploader retries: refused"
    assert _wandbupload._retried(tmp_path, at - 86_400) == ""
