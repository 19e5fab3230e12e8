"""Comet and Neptune online behind a real sink, while their servers hang up, fail, throttle and refuse one record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asynclogd.backends.base import Params, RunEnd
from asynclogd.backends.comet import CometBackend, CometConfig
from asynclogd.backends.neptune import NeptuneBackend, NeptuneConfig
from asynclogd.testing import table
from tests.daemon.backends import cometserver, neptuneserver
from tests.daemon.sinkplace import Place

pytestmark = pytest.mark.sdk

Eventually = Callable[..., None]


def place_of(directory: Path) -> Place:
    place = Place(directory)
    place.add(Params({"lr": 0.1}))
    for step in range(0, 40, 4):
        place.add(table(["a", "b"], range(step, step + 4)))
        if step == 20:
            place.add(table(["poison"], [step]))
    place.add(RunEnd("success"))
    return place


def test_comet_gets_all_but_what_it_refuses(tmp_path: Path, eventually: Eventually):
    place = place_of(tmp_path)
    (tmp_path / "key").write_text(cometserver.KEY)
    with cometserver.running() as server:
        answers = [cometserver.Answer(status) for status in (None, 500, 502)]
        server.script("add/run", *answers)
        server.script("experiment/metric", *answers, cometserver.Answer(429, {"Retry-After": "0"}))
        server.refused = {"poison"}
        backend = CometBackend(CometConfig(url=server.url, credentials_file=str(tmp_path / "key")))
        sink = place.sink(backend)
        eventually(lambda: sink.status().lag == 0, what="everything delivered")
        assert sink.stop(drain=True, timeout=30)
    found = sorted((each["metricName"], each["step"]) for each in server.metrics)
    assert found == [(name, step) for name in "ab" for step in range(40)]
    assert [letter.offset for letter in place.letters] == [8]
    assert "refused" in place.letters[0].reason
    assert server.params == {"lr": 0.1}
    assert not server.states[-1]["is_alive"]


def test_a_batch_that_is_over_comets_limit_arrives_and_nothing_twice(tmp_path: Path, eventually: Eventually):
    """Every third request is throttled: what was taken of a batch is not sent again with the rest."""
    place = Place(tmp_path)
    place.add(table([f"n{i}" for i in range(2500)], range(4)))
    (tmp_path / "key").write_text(cometserver.KEY)
    with cometserver.running() as server:
        server.throttle = 3
        sink = place.sink(CometBackend(CometConfig(url=server.url, credentials_file=str(tmp_path / "key"))))
        eventually(lambda: sink.status().lag == 0, what="everything delivered")
        assert sink.stop(drain=True, timeout=30)
    assert len(server.metrics) == 10_000
    assert len({(each["metricName"], each["step"]) for each in server.metrics}) == 10_000


def test_neptune_gets_all_but_what_it_refuses_each_once(tmp_path: Path, eventually: Eventually):
    place = place_of(tmp_path)
    with neptuneserver.running() as server:
        (tmp_path / "token").write_text(server.token)
        answers = [neptuneserver.Answer(status) for status in (None, 500, 502)]
        server.script("clients/config", *answers)
        server.script("ingest", *answers, neptuneserver.Answer(429, {"Retry-After": "0"}))
        server.script("ingest/check", *answers)
        server.refused = {"metrics/poison": "FIELD_TYPE_CONFLICTING"}
        options = NeptuneConfig(online=True, project="a/b", credentials_file=str(tmp_path / "token"))
        sink = place.sink(NeptuneBackend(options))
        eventually(lambda: sink.status().lag == 0, what="everything delivered")
        assert sink.stop(drain=True, timeout=30)
    (run,) = server.runs.values()
    assert {name: [step for step, _ in points] for name, points in run.series.items() if points} == {
        "metrics/a": list(range(40)),
        "metrics/b": list(range(40)),
    }
    assert [letter.offset for letter in place.letters] == [8]
    assert "FIELD_TYPE_CONFLICTING" in place.letters[0].reason
    assert run.single["params/lr"] == 0.1
    assert run.single["asynclog/status"] == "success"
