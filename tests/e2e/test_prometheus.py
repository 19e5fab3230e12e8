"""`/metrics` of a real daemon, over real HTTP."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import asynclog
from asynclog_proto import places
from asynclogd import talk

Eventually = Callable[..., None]

pytestmark = pytest.mark.timeout(120)


def report() -> dict[str, Any]:
    return talk.ask(places.endpoint(places.runtime_dir(os.environ, os.getuid())), timeout=30)


def scraped(url: str) -> dict[tuple[str, str], float]:
    """By the sample's name, and the name, state or backend that it is of."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        text = answer.read().decode()
    return {
        (sample.name, sample.labels.get("name", sample.labels.get("state", ""))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCLOG_PROMETHEUS_ENABLED", "true")
    monkeypatch.setenv("ASYNCLOG_PROMETHEUS_PORT", "0")


def test_last_values_and_the_daemons_own_state_are_there_while_a_run_goes_on(
    tmp_path: Path, enabled: None, eventually: Eventually
) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        for step in range(40):
            run.log({"train/loss": 40.0 - step, 'a "name"\\ of\nany kind': float(step)}, step=step)
        run.flush()
        url = report()["prometheus"]["url"]
        assert url.startswith("http://127.0.0.1:")
        eventually(lambda: scraped(url).get(("asynclog_metric", "train/loss")) == 1.0, 30, "the last value")
        told = scraped(url)
        assert told["asynclog_metric", 'a "name"\\ of\nany kind'] == 39.0
        assert told["asynclog_runs", ""] == 1
        assert told["asynclog_streams", "live"] == 1
        assert told["asynclog_step", ""] == 39
        assert told["asynclog_values_journaled_total", ""] >= 80
        assert told["asynclog_backend_state", "ok"] == 1
        assert told["asynclog_journal_bytes", ""] > 0
    eventually(lambda: scraped(url)["asynclog_runs", ""] == 0, 30, "the run's end")


def test_it_is_off_by_default(tmp_path: Path) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        run.log({"loss": 1.0}, step=0)
        run.flush()
        assert report()["prometheus"] == {"url": "", "error": ""}


def test_a_port_that_is_taken_is_told_and_the_daemon_works(
    tmp_path: Path, enabled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        monkeypatch.setenv("ASYNCLOG_PROMETHEUS_PORT", str(taken.getsockname()[1]))
        with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
            run.log({"loss": 1.0}, step=0)
            run.flush()
            assert "in use" in report()["prometheus"]["error"]
            assert run.finish().complete
