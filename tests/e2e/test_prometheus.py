"""`/metrics` of a real daemon, over real HTTP."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

import asynclog
from asynclog_proto import places
from asynclogd import talk
from asynclogd.cli.status import status as status_command
from asynclogd.measures import spelled

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
        assert told["asynclog_daemon_runs", ""] == 1
        assert told["asynclog_streams", "live"] == 1
        assert told["asynclog_rank_step", ""] == 39
        assert told["asynclog_ledger_journaled_total", ""] >= 80
        assert told["asynclog_backend_state", "ok"] == 1
        assert told["asynclog_run_journal_bytes", ""] > 0
    eventually(lambda: scraped(url)["asynclog_daemon_runs", ""] == 0, 30, "the run's end")


IDENTITY = {"asynclog_daemon_pid", "asynclog_rank_pid", "asynclog_rank_rank", "asynclog_rank_world_size"}
"""Numbers of the report that measure nothing."""

BESIDE_STATUS = {
    "asynclog_daemon_info", "asynclog_streams", "asynclog_backend_state", "asynclog_metric",
    "asynclog_daemon_stage_seconds", "asynclog_run_stage_seconds", "asynclog_backend_stage_seconds",
}  # fmt: skip
"""What `/metrics` has in a form of its own: states by their names, last values, stages as summaries."""


def is_told(value: object) -> bool:
    """Whether a value of the report is a number, or has some by cause."""
    numbers = (bool, int, float)
    return isinstance(value, numbers) or (
        isinstance(value, dict) and bool(value) and all(isinstance(each, numbers) for each in value.values())
    )


def test_status_and_metrics_have_the_same_numbers_by_the_same_names(tmp_path: Path, enabled: None) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        with pytest.warns(asynclog.AsynclogWarning):
            run.log({"loss": 1.0, "odd": object()}, step=0)
        run.log({"image": asynclog.Image(np.zeros((2, 2, 3), np.uint8))}, step=1)
        run.flush()
        status = report()
        with urllib.request.urlopen(status["prometheus"]["url"], timeout=30) as answer:  # noqa: S310 - our own server
            families = [*text_string_to_metric_families(answer.read().decode())]
        (told,) = status["runs"]
        parts = {
            "": status, "daemon": status["daemon"], "run": told, "rank": told["ranks"][0], "media": told["media"],
            "ledger": told["ledger"], "backend": told["backends"]["csv"],
            "ledger_backend": told["ledger"]["backends"]["csv"],
        }  # fmt: skip
        named = {spelled(part, key): value for part, those in parts.items() for key, value in those.items()}
        numbers = {name for name, value in named.items() if is_told(value)}
        shown = {family.name for family in families} - BESIDE_STATUS
        assert numbers - IDENTITY - shown == set(), "only in the status"
        assert shown - named.keys() == set(), "only in /metrics"
        same = {family.name: family.samples[0].value for family in families if family.name in numbers}
        settled = [name for name in same if "_ledger_" in name and isinstance(named[name], int)]
        assert {name: same[name] for name in settled} == {name: named[name] for name in settled}
        assert named["asynclog_ledger_dropped"] == {"bad_value": 1}


def test_stages_are_told_with_their_quantiles(tmp_path: Path, enabled: None) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        run.log({"loss": 1.0}, step=0)
        run.flush()
        status = report()
        found = scraped(status["prometheus"]["url"])
        (told,) = status["runs"]
        stages = status["daemon"]["stages"] | told["stages"] | told["backend_stages"]["csv"]
        assert stages.keys() == {"ingest", "reduce", "journal", "open", "look", "write", "flush", "visible"}
        for took in stages.values():
            assert took["calls"] >= 1
            assert 0.0 <= took["p50_s"] <= took["p99_s"] <= 60.0
        for group in ("daemon", "run", "backend"):
            assert found[f"asynclog_{group}_stage_seconds_count", ""] >= 1
        text = CliRunner().invoke(status_command).output
        assert {"ingest", "reduce", "journal", "csv visible"} <= {
            line.split("  ")[0].strip() for line in text.splitlines()
        }


def test_it_is_off_by_default(tmp_path: Path) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        run.log({"loss": 1.0}, step=0)
        run.flush()
        assert report()["prometheus"] == {"url": "", "error": ""}


def test_a_port_that_is_taken_is_told_and_the_daemon_works(
    tmp_path: Path, runtime_dir: Path, enabled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_DAEMON_LOG_FORMAT", "json")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        monkeypatch.setenv("ASYNCLOG_PROMETHEUS_PORT", str(taken.getsockname()[1]))
        with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
            run.log({"loss": 1.0}, step=0)
            run.flush()
            assert "in use" in report()["prometheus"]["error"]
            assert run.finish().complete
    lines = [json.loads(line) for line in (runtime_dir / "daemon.log").read_text().splitlines()]
    assert [(line["level"], line["cause"]) for line in lines if line["incident"] == "no-metrics"] == [
        ("error", "OSError")
    ]


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])  # noqa: S104
def test_a_host_that_others_reach_is_warned_of(
    host: str, warned: bool, tmp_path: Path, runtime_dir: Path, enabled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_DAEMON_LOG_FORMAT", "json")
    monkeypatch.setenv("ASYNCLOG_PROMETHEUS_HOST", host)
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        run.log({"loss": 1.0}, step=0)
        assert run.flush()
        url = report()["prometheus"]["url"]
    assert url.startswith(f"http://{host}:")
    lines = [json.loads(line) for line in (runtime_dir / "daemon.log").read_text().splitlines()]
    told = [line["message"] for line in lines if (line["level"], line["incident"]) == ("warning", "metrics-open")]
    assert len(told) == warned
    assert all(url in text and "prometheus.host" in text for text in told)
