"""A Neptune server of one's own: by the SDK's own sync, and by ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asynclogd.backends.base import (
    Params,
    PermanentError,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    ThrottledError,
)
from asynclogd.backends.neptune import NeptuneBackend
from asynclogd.samples import filled
from asynclogd.testing import table
from tests.daemon.backends import neptuneserver
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.neptuneserver import Answer, Neptune
from tests.daemon.backends.neptuneworld import Read, info, media, opened, written

pytestmark = pytest.mark.sdk


@pytest.fixture
def neptune() -> Iterator[Neptune]:
    with neptuneserver.running() as server:
        yield server


def online(run: RunInfo, server: Neptune, position: Position | None = None) -> NeptuneBackend:
    token = run.dir / "token"
    token.write_text(server.token)
    return opened(run, position, online=True, project="lab/digits", credentials_file=str(token))


def test_neptunes_own_sync_sends_a_database_and_its_files(tmp_path: Path, neptune: Neptune):
    store = Store()
    run = info(tmp_path, store)
    image = store.item("seen", "image", {"dataformats": "HW"}, 1, image=np.zeros((4, 4), np.uint8))
    points = table(["a", "b"], range(50))
    position = written(run, points, table(["a"], [3], 1), image, Params({"lr": 0.1}), project="lab/digits")
    database = run.own_dir / "run-0" / "run_operations.sqlite3"
    code = "import sys\nfrom neptune_scale.cli.commands import main\nif __name__ == '__main__': main()"
    settings = {**os.environ, "NEPTUNE_API_TOKEN": neptune.token}
    command = [sys.executable, "-c", code, "sync", str(database), "--timeout", "60"]
    subprocess.run(command, env=settings, check=True, capture_output=True)
    sent = neptune.runs[position["key"]]
    assert sent.series["metrics/a"] == [(step, values[0]) for step, _, values in points.rows()]
    assert [step for step, _ in sent.series["late/1/metrics/a"]] == [3]
    assert sent.single["params/lr"] == 0.1
    ((_, data),) = neptune.files.items()
    assert data.startswith(b"\x89PNG")
    assert not [code for codes in neptune.codes.values() for code in codes]
    assert not database.exists()  # the SDK removes what it has sent; a resumed run begins another


def test_online_everything_is_sent_and_nothing_is_left_behind(tmp_path: Path, neptune: Neptune):
    store = Store()
    run = info(tmp_path, store)
    backend = online(run, neptune)
    assert not backend.local
    values = filled(["loss", "bad"], [0, 1], np.array([[0.5, np.inf], [-np.inf, -0.0]]))
    backend.write([Params({"lr": 0.1}), values, *media(store, tmp_path)])
    neptune.unready = 2  # it takes its time
    position = backend.flush()
    backend.write([Rewind(1, 1), filled(["loss"], [1, 2], np.array([[0.25], [0.125]])), RunEnd("success")])
    backend.flush()
    backend.close("success")
    first, fork = neptune.runs[position["key"]], neptune.runs[f"{position['key']}-1"]
    assert first.series["metrics/loss"] == [(0, 0.5), (1, -np.inf)]
    assert first.series["metrics/bad"] == [(0, np.inf), (1, 0.0)]
    assert fork.series == {"metrics/loss": [(1, 0.25), (2, 0.125)]}
    assert (fork.created[0].fork_point.parent_run_id, fork.created[0].fork_point.step.whole) == (position["key"], 0)
    assert fork.single["asynclog/status"] == "success"
    assert len(neptune.files) == 6
    assert b"weights" in neptune.files.values()
    (left, *_) = [Read(path) for path in sorted(run.own_dir.glob("run-*/*.sqlite3"))]
    assert (left.series, left.files) == ({}, [])


def test_online_what_is_sent_again_after_a_kill_is_there_once(tmp_path: Path, neptune: Neptune):
    run = info(tmp_path)
    backend = online(run, neptune)
    backend.write([table(["a"], range(5))])
    position = backend.flush()
    backend.write([table(["a"], range(5, 9)), table(["a"], [2], 1)])
    backend.flush()
    backend.close("")  # and the position was not committed
    again = online(run, neptune, position)
    again.write([table(["a"], range(5, 9)), table(["a"], [2], 1), table(["a"], [9])])
    again.flush()
    again.close("")
    sent = neptune.runs[position["key"]]
    assert [step for step, _ in sent.series["metrics/a"]] == list(range(10))
    assert [step for step, _ in sent.series["late/1/metrics/a"]] == [2]


def test_a_token_that_is_none_or_is_refused_is_one_clear_error(tmp_path: Path, neptune: Neptune, capfd):
    run = info(tmp_path)
    with pytest.raises(PermanentError, match="NEPTUNE_API_TOKEN"):
        opened(run, online=True)
    with pytest.raises(PermanentError, match="credentials_file"):
        opened(run, online=True, credentials_file=str(tmp_path / "none"))
    (tmp_path / "bad").write_text("secret-but-no-token")
    with pytest.raises(PermanentError, match="is none") as none:
        opened(run, online=True, credentials_file=str(tmp_path / "bad"))
    neptune.known = False
    with pytest.raises(PermanentError, match="refuses the API token: set NEPTUNE_API_TOKEN") as refused:
        online(run, neptune)
    neptune.known = True
    neptune.script("ingest", Answer(403))
    with pytest.raises(PermanentError, match="lets nothing be written"):
        online(run, neptune)
    assert "secret" not in str(none.value)
    assert neptune.token not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_a_token_that_is_revoked_is_no_records_fault(tmp_path: Path, neptune: Neptune):
    run = info(tmp_path)
    backend = online(run, neptune)
    position = backend.flush()
    backend.close("")
    neptune.known = False
    for _ in range(2):
        backend = online(run, neptune, position)
        backend.write([table(["a"], range(3))])
        with pytest.raises(PermissionError, match="set NEPTUNE_API_TOKEN"):
            backend.flush()
        backend.close("")
    neptune.known = True
    backend = online(run, neptune, position)
    backend.write([table(["a"], range(3))])
    backend.flush()
    backend.close("")
    assert [step for step, _ in neptune.runs[position["key"]].series["metrics/a"]] == [0, 1, 2]


def test_what_the_server_says_becomes_what_the_sink_does(tmp_path: Path, neptune: Neptune):
    run = info(tmp_path)
    backend = online(run, neptune)
    position = backend.flush()
    neptune.script("ingest", Answer(429, {"Retry-After": "7"}), Answer(503), Answer(500), Answer(401), Answer(None))
    found = []
    for _ in range(5):
        backend.write([table(["a"], range(3))])
        with pytest.raises(Exception, match=r".") as failed:
            backend.flush()
        found.append(failed.value)
        backend.close("")
        backend = online(run, neptune, position)
    assert [type(each) for each in found[:2]] == [ThrottledError, ThrottledError]
    assert isinstance(found[0], ThrottledError)
    assert found[0].retry_after == 7
    assert not [each for each in found if isinstance(each, PermanentError)]
    backend.write([table(["a"], range(3))])
    backend.flush()
    backend.close("")
    assert [step for step, _ in neptune.runs[position["key"]].series["metrics/a"]] == [0, 1, 2]


def test_what_the_server_refuses_of_a_point_is_permanent(tmp_path: Path, neptune: Neptune):
    backend = online(info(tmp_path), neptune)
    neptune.refused["metrics/a"] = "FIELD_TYPE_CONFLICTING"
    backend.write([table(["a"], [1])])
    with pytest.raises(PermanentError, match="FIELD_TYPE_CONFLICTING"):
        backend.flush()
    backend.close("")


def test_a_project_that_the_server_does_not_know_is_one_clear_error(tmp_path: Path, neptune: Neptune):
    neptune.script("ingest", Answer(404))
    with pytest.raises(PermanentError, match="404"):
        online(info(tmp_path), neptune)


def test_a_server_that_is_away_is_tried_again(tmp_path: Path):
    run, away = info(tmp_path), Neptune(url="http://127.0.0.1:9")
    with pytest.raises(Exception, match=r"refused|Connect") as failed:
        online(run, away)
    assert not isinstance(failed.value, PermanentError)


def test_the_sdk_changes_nothing_in_this_process(tmp_path: Path):
    """In a process of its own: the import is done once. Nothing is spawned, no thread stays, nothing is printed."""
    code = """
import multiprocessing, signal, sys, threading, warnings
from pathlib import Path
from asynclogd.backends.base import RunInfo, RunEnd
from asynclogd.backends.neptune import NeptuneBackend, NeptuneConfig
from tests.daemon.backends import neptuneserver

def state():
    return sys.excepthook, [signal.getsignal(each) for each in (2, 15)], sys.stdout, sys.stderr, list(warnings.filters)

own = Path(sys.argv[1]); own.mkdir()
assert not {"neptune_scale", "neptune_api"} & set(sys.modules)
before = state()
with neptuneserver.running() as server:
    (own / "token").write_text(server.token)
    options = NeptuneConfig(online=True, project="a/b", credentials_file=str(own / "token"))
    for config in (NeptuneConfig(), options):
        backend = NeptuneBackend(config)
        backend.open(RunInfo("p", "r", own, own), None)
        backend.write([RunEnd("success")]); backend.flush()
        threads = [each.name for each in threading.enumerate() if "process_request" not in each.name]
        assert len(threads) == 2, threads  # this one and the server's
        assert not multiprocessing.active_children()
        backend.close("")
assert state() == before
"""
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    settings.pop("NEPTUNE_LOGGER_LEVEL", None)
    command = [sys.executable, "-c", code, str(tmp_path / "own")]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
