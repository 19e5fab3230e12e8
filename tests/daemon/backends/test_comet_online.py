"""Comet online: the SDK's requests, and what is made of a server's answers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclogd.backends._cometarchive import FOLDER
from asynclogd.backends.base import (
    Media,
    Params,
    PermanentError,
    Rewind,
    RunEnd,
    Summary,
    ThrottledError,
)
from asynclogd.backends.comet import CometBackend, CometConfig
from asynclogd.media import forms
from asynclogd.samples import filled
from asynclogd.testing import table
from tests.daemon.backends import cometserver
from tests.daemon.backends.cometserver import KEY, Answer, Comet
from tests.daemon.backends.cometworld import (
    info,
    key_file,
    look_at,
    media,
    opened,
)
from tests.daemon.backends.mediastore import Store

pytestmark = pytest.mark.sdk


@pytest.fixture
def comet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comet]:
    with cometserver.running() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        yield server


def test_online_everything_is_sent_and_what_is_told_is_the_runs(tmp_path: Path, comet: Comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    store = Store()
    run = info(tmp_path, store)
    backend = opened(run, workspace="lab", tags=("a",))
    assert not backend.local
    assert not (run.own_dir / FOLDER).exists()
    values = filled(["loss", "bad", "epoch"], [0, 1], np.array([[0.5, np.inf, 0.0], [np.nan, -0.0, 1.0]]))
    backend.write([Params({"lr": 0.1, "nan": float("nan")}), values, Summary({"best": 1.0})])
    backend.write(media(store, tmp_path))
    position = backend.flush()
    backend.write([RunEnd("failed")])
    backend.close("failed")
    (experiment,) = comet.experiments
    assert (experiment["experimentKey"], experiment["projectName"], experiment["teamName"]) == (
        position["key"], "digits", "lab",
    )  # fmt: skip
    assert comet.tags == ["a"]
    assert comet.params == {"lr": 0.1, "nan": "NaN"}
    assert [(each["metricName"], each["step"], each["epoch"], each["metricValue"]) for each in comet.metrics] == [
        ("loss", 0, 0, 0.5), ("bad", 0, 0, "Infinity"), ("epoch", 0, 0, 0.0),
        ("loss", 1, 1, "NaN"), ("bad", 1, 1, -0.0), ("epoch", 1, 1, 1.0),
    ]  # fmt: skip
    assert comet.others["Name"] == "run-1"
    assert comet.others["asynclog/status"] == "failed"
    assert comet.states[0]["is_alive"]
    assert (comet.states[-1]["hasCrashed"], comet.states[-1]["isAlive"]) == (True, False)
    look_at(comet)


def test_online_many_points_go_in_batches_that_comet_takes(tmp_path: Path, comet: Comet):
    backend = opened(info(tmp_path), online=True, url=comet.url, credentials_file=key_file(tmp_path))
    backend.write([table([f"n{i}" for i in range(1100)], range(2))])
    assert len(comet.metrics) == 2200
    backend.close("")


def test_online_a_resumed_run_goes_on_with_its_experiment(tmp_path: Path, comet: Comet):
    options: dict[str, Any] = {"url": comet.url, "credentials_file": key_file(tmp_path)}
    backend = opened(info(tmp_path), **options)
    position = backend.flush()
    backend.write([RunEnd("success")])
    backend.close("success")
    assert not comet.states[-1]["is_alive"]
    again = opened(info(tmp_path), position, **options)
    again.flush()
    assert not comet.states[-1]["is_alive"]  # it was only looked at
    again.write([Rewind(1, 1), table(["a"], [1])])
    again.flush()
    assert comet.states[-1]["is_alive"]
    again.write([RunEnd("success")])
    assert len(comet.experiments) == 1
    again.flush()
    again.close("success")
    assert [path for path, _ in comet.told] == ["/clientlib/logger/get/run"]
    assert comet.others["asynclog/rewind/1"] == 1
    assert [state["is_alive"] for state in comet.states].count(False) == 2


def test_comets_limits_are_those_of_its_server(tmp_path: Path):
    online = CometBackend(CometConfig(online=True))
    assert (online.points_per_second, online.default_rate_limit) == (180.0, {"*": 180.0})
    assert online.requires == ("comet_ml", "comet")
    for other in (CometConfig(), CometConfig(online=True, url="http://127.0.0.1:5000")):
        assert (CometBackend(other).points_per_second, CometBackend(other).default_rate_limit) == (math.inf, {})


def test_an_experiment_stays_where_it_was_begun(tmp_path: Path, comet: Comet, monkeypatch: pytest.MonkeyPatch):
    position = opened(info(tmp_path)).flush()
    monkeypatch.setenv("COMET_API_KEY", KEY)
    again = opened(info(tmp_path), position)
    again.write([table(["a"], [1]), RunEnd("success")])
    assert (info(tmp_path).own_dir / f"{again.flush()['key']}.zip").is_file()
    assert not comet.experiments


def test_a_wrong_key_is_one_clear_error_without_the_key(tmp_path: Path, comet: Comet, capfd):
    wrong = "w" * 25
    with pytest.raises(PermanentError, match=r"refuses the API key: set COMET_API_KEY") as refused:
        opened(info(tmp_path), url=comet.url, credentials_file=key_file(tmp_path, wrong))
    assert wrong not in str(refused.value)
    with pytest.raises(PermanentError, match="COMET_API_KEY"):
        opened(info(tmp_path), online=True, url=comet.url)
    with pytest.raises(PermanentError, match="credentials_file"):
        opened(info(tmp_path), online=True, url=comet.url, credentials_file=str(tmp_path / "none"))
    assert capfd.readouterr() == ("", "")


def test_what_the_server_says_becomes_what_the_sink_does(tmp_path: Path, comet: Comet):
    backend = opened(info(tmp_path), url=comet.url, credentials_file=key_file(tmp_path))
    path, points_ = "experiment/metric", [table(["a"], range(3))]
    comet.script(
        path, Answer(429, {"Retry-After": "7"}), Answer(503), Answer(400), Answer(500), Answer(401), Answer(None)
    )
    with pytest.raises(ThrottledError) as throttled:
        backend.write(points_)
    assert throttled.value.retry_after == 7
    with pytest.raises(ThrottledError):
        backend.write(points_)
    with pytest.raises(PermanentError):
        backend.write(points_)
    for _ in range(3):  # may be tried again
        with pytest.raises(Exception, match=r"500|401|Connection") as failed:
            backend.write(points_)
        assert not isinstance(failed.value, (PermanentError, ThrottledError))
    assert not comet.metrics
    backend.write(points_)
    assert len(comet.metrics) == 3


def test_a_key_that_is_revoked_is_no_records_fault(tmp_path: Path, comet: Comet):
    file = key_file(tmp_path)
    backend = opened(info(tmp_path), url=comet.url, credentials_file=file)
    position = backend.flush()
    comet.known = False
    with pytest.raises(PermissionError, match="set COMET_API_KEY"):
        backend.write([table(["a"], range(3))])
    with pytest.raises(PermanentError, match="set COMET_API_KEY"):
        opened(info(tmp_path), position, url=comet.url, credentials_file=file)


def test_an_upload_that_is_refused_is_known(tmp_path: Path, comet: Comet):
    store = Store()
    backend = opened(info(tmp_path, store), url=comet.url, credentials_file=key_file(tmp_path))
    comet.script("asset/upload", Answer(413), Answer(429))
    page = [Media("page", 7, 1.7e9, "html", forms.HTML, {}, store.put(b"<p>"))]
    with pytest.raises(PermanentError):
        backend.write(page)
    with pytest.raises(ThrottledError):
        backend.write(page)
    backend.write(page)
    assert len(comet.uploads) == 1


def test_a_server_that_is_away_is_tried_again(tmp_path: Path):
    with pytest.raises(Exception, match="Connection") as failed:
        opened(info(tmp_path), url="http://127.0.0.1:9/clientlib/", credentials_file=key_file(tmp_path))
    assert not isinstance(failed.value, PermanentError)


def test_the_sdk_changes_nothing_in_this_process(tmp_path: Path):
    """In a process of its own: the import is done once."""
    code = """
import logging, signal, sys, threading
from pathlib import Path
from asynclogd.backends.base import RunInfo, RunEnd
from asynclogd.backends.comet import CometBackend, CometConfig
from tests.daemon.backends import cometserver

before = sys.excepthook, list(sys.meta_path), [signal.getsignal(each) for each in (2, 15)], sys.stdout, sys.stderr
own = Path(sys.argv[1]); own.mkdir()
offline = CometBackend(CometConfig(online=False))
offline.open(RunInfo("p", "r", own, own), None)
offline.flush(); offline.close("")
assert "comet_ml" not in sys.modules
(own / "key.txt").write_text(cometserver.KEY)
with cometserver.running() as server:
    backend = CometBackend(CometConfig(url=server.url, credentials_file=str(own / "key.txt")))
    backend.open(RunInfo("p", "r", own, own), None)
    threads = [each.name for each in threading.enumerate() if "process_request" not in each.name]
    assert len(threads) == 2, threads  # this one and the server's
    backend.write([RunEnd("success")]); backend.flush(); backend.close("")
assert "comet_ml" in sys.modules
after = sys.excepthook, sys.meta_path, [signal.getsignal(each) for each in (2, 15)], sys.stdout, sys.stderr
assert before[0] is after[0] and before[2:] == after[2:]
assert not [each for each in after[1] if "comet" in type(each).__module__]
assert not logging.getLogger("comet_ml").handlers
"""
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path / "own")]
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_comets_own_settings_hold_where_an_option_is_not_given(tmp_path: Path, comet: Comet, monkeypatch):
    file = tmp_path / "comet.config"
    file.write_text(f"[comet]\napi_key = {KEY}\nworkspace = filed\nproject_name = filed\n")
    monkeypatch.setenv("COMET_CONFIG", str(file))
    monkeypatch.setenv("COMET_PROJECT_NAME", "by variable")
    for each, options in (("a", {}), ("b", {"project": "mine", "workspace": "ours"})):
        opened(info(tmp_path / each), None, **options).close("")
    assert [(each["projectName"], each["teamName"]) for each in comet.experiments] == [
        ("by variable", "filed"), ("mine", "ours"),
    ]  # fmt: skip
    monkeypatch.setenv("COMET_WORKSPACE", "lab")
    run = info(tmp_path / "c")
    opened(run, online=False).close("")
    about = json.loads((run.own_dir / FOLDER / "experiment.json").read_text())
    assert (about["project_name"], about["workspace"]) == ("by variable", "lab")


def test_a_key_that_comet_init_wrote_is_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "comet.config"
    monkeypatch.setenv("COMET_CONFIG", str(file))
    assert CometBackend(CometConfig()).local
    for text, local in {"[comet]\nworkspace = lab\n": True, "no ini": True, "[comet]\napi_key = abc%\n": False}.items():
        file.write_text(text)
        assert CometBackend(CometConfig()).local is local
    assert CometBackend(CometConfig(online=False)).local
