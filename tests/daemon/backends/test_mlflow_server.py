"""MLflow before a real server, which is throttled, fails, breaks off, refuses credentials, hangs and is killed."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asynclogd.backends.base import RunInfo
from asynclogd.backends.mlflow import MlflowBackend, MlflowConfig
from asynclogd.delivery import SinkSettings
from asynclogd.points import Params, RunEnd
from asynclogd.samples import table as points_of
from tests.daemon.backends.mlflowserver import MlflowServer, mlflow_server
from tests.daemon.filebackend import FileBackend
from tests.daemon.httpservice import Answer, Script, forwarded, serving
from tests.daemon.sinkplace import Place
from tests.daemon.tables import table

Eventually = Callable[..., None]

pytestmark = [pytest.mark.mlflow, pytest.mark.timeout(180)]

TIMES = SinkSettings(flush_interval=0.01, first_retry=0.01, longest_retry=0.1)
THROTTLED, FAILED, GONE = Answer(429, {"Retry-After": "0"}), Answer(500), Answer(closes=True)


@pytest.fixture(autouse=True)
def no_backoff_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow tries once more by itself, and waits for that as long as its environment says."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(started: MlflowServer) -> str:
    return started.uri


def has_each_point_once(server: str, experiment: str, steps: int) -> None:
    import mlflow

    client = mlflow.MlflowClient(server)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert run.info.status == "FINISHED"
    for column, name in enumerate("ab"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in history] == [(step, step + column / 10) for step in range(steps)]


def deliver(place: Place, script: Script, experiment: str, eventually: Eventually) -> int:
    """Have all of it delivered through a proxy, to its end; the sink's offset."""
    with serving(script) as proxy:
        sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=proxy, experiment=experiment)), times=TIMES)
        eventually(lambda: sink.offset == place.log.last_offset, 60, "delivery")
        assert sink.stop(drain=True, timeout=60)
    return sink.offset


def test_a_real_server(tmp_path: Path, server: str) -> None:
    import mlflow

    run, points = RunInfo("real", "run", tmp_path, tmp_path), points_of(["a", "ö@b"], range(600))
    backend = MlflowBackend(MlflowConfig(tracking_uri=server))
    backend.open(run, None)
    backend.write([Params({"lr": 0.1}), points])
    position = backend.flush()
    again = MlflowBackend(MlflowConfig(tracking_uri=server))
    again.open(run, position)
    again.write([points, RunEnd("success")])
    again.close("success")
    client = mlflow.MlflowClient(server)
    history = client.get_metric_history(position["run"], "ö_0x40_b")
    assert [(m.step, m.value) for m in history] == [(step, row[1]) for step, _, row in points.rows()]
    assert client.get_run(position["run"]).info.status == "FINISHED"


@pytest.mark.fault("service-errors")
def test_everything_is_there_once_after_429_and_500_and_broken_connections(
    tmp_path: Path, server: str, eventually: Eventually
) -> None:
    place = Place(tmp_path / "run", [table(step) for step in range(100)])
    place.add(RunEnd("success"))
    answers: Iterator[Answer | None] = iter([THROTTLED] * 5 + [FAILED] * 3 + [GONE] * 3 + [None, THROTTLED, THROTTLED])
    errors: set[str] = set()

    def script(method: str, path: str, body: bytes) -> Answer:
        answer = next(answers, None) if path.endswith("log-batch") else None
        return forwarded(server, method, path, body) if answer is None else answer

    with serving(script) as proxy:
        sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=proxy)), times=TIMES)

        def arrived() -> bool:
            errors.add(sink.status().error.partition(":")[0])
            return sink.offset == 101

        eventually(arrived, 60, "delivery")
        assert "ThrottledError" in errors
        assert sink.stop(drain=True, timeout=60)
    has_each_point_once(server, "project", 100)


@pytest.mark.fault("answer-lost")
def test_an_answer_that_is_lost_after_mlflow_has_committed_doubles_nothing(
    tmp_path: Path, server: str, eventually: Eventually
) -> None:
    place = Place(tmp_path / "run", [table(step) for step in range(100)])
    place.add(RunEnd("success"))
    lost = iter(range(4))

    def script(method: str, path: str, body: bytes) -> Answer:
        answer = forwarded(server, method, path, body)
        return GONE if path.endswith("log-batch") and next(lost, None) is not None else answer

    assert deliver(place, script, "lost", eventually) == 101
    assert next(lost, None) is None
    has_each_point_once(server, "lost", 100)


@pytest.mark.fault("service-down")
def test_a_server_that_hangs_and_is_killed_delays_nobody_and_lacks_nothing(
    tmp_path: Path, started: MlflowServer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    place, others = (Place(tmp_path / name, [table(step) for step in range(10)]) for name in ("run", "others"))
    sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=started.uri, experiment="hung")), times=TIMES)
    other = others.sink(FileBackend())

    def more(steps: range) -> None:
        for each in (place, others):
            for step in steps:
                each.add(table(step))
        sink.wake()
        other.wake()

    eventually(lambda: sink.status().lag == 0, 60, "the first items")
    with started.halted():
        more(range(10, 20))
        eventually(lambda: "timed out" in sink.status().error, 60, "the first error")
        eventually(lambda: other.status().lag == 0, what="delivery to the other one")
        assert (sink.offset, sink.status().state) == (10, "retrying")
    eventually(lambda: sink.status().lag == 0, 60, "what was missing")
    started.kill()
    more(range(20, 30))
    eventually(lambda: "can't be reached" in sink.status().error, 60, "the second error")
    eventually(lambda: other.status().lag == 0, what="delivery to the other one")
    place.add(RunEnd("success"))
    started.start()
    assert sink.stop(drain=True, timeout=60)
    assert other.stop(drain=True, timeout=60)
    assert place.letters == []
    has_each_point_once(started.uri, "hung", 30)


@pytest.mark.parametrize(
    ("uri", "state", "told"),
    [
        ("http://127.0.0.1:9", "retrying", "can't be reached: .*Connection refused"),
        ("http://no.such.host.invalid", "retrying", "can't be reached: .*no.such.host.invalid"),
        ("htp://127.0.0.1:5000", "broken", "unsupported URI 'htp://127.0.0.1:5000'"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_error_that_says_why(
    tmp_path: Path, eventually: Eventually, uri: str, state: str, told: str
) -> None:
    place = Place(tmp_path / "run", [table(0)])
    sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=uri)), times=TIMES)
    eventually(lambda: sink.status().retries > 1, 60, "the error")
    assert sink.status().state == state
    assert re.search(told, sink.status().error)
    assert sink.status().dead_letters == sink.offset == 0
    assert sink.stop(drain=False, timeout=60)


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_are_one_error_that_says_what_to_set(
    tmp_path: Path, eventually: Eventually, status: int
) -> None:
    place = Place(tmp_path / "run", [table(0)])
    with serving(lambda *_: Answer(status, {"WWW-Authenticate": "Basic"}, b"You are not authenticated")) as uri:
        sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=uri)), times=TIMES)
        eventually(lambda: sink.status().retries > 1, 60, "the error")
        assert sink.status().state == "broken"
        assert re.search(f"set MLFLOW_TRACKING_TOKEN, or .*_USERNAME and .*_PASSWORD.*{status}", sink.status().error)
        assert sink.status().dead_letters == sink.offset == 0
        other = Place(tmp_path / "other", [table(0)]).sink(FileBackend())
        eventually(lambda: other.offset == 1, what="another backend's delivery")
        assert other.stop(drain=True, timeout=30)
        assert sink.stop(drain=False, timeout=60)


@pytest.mark.fault("record-refused")
def test_an_item_that_the_server_refuses_is_a_dead_letter_and_the_rest_arrives_once(
    tmp_path: Path, server: str, eventually: Eventually
) -> None:
    place = Place(tmp_path / "run", [table(step) for step in range(20)])
    place.add(table(20, names=("poison",)))
    for step in range(20, 40):
        place.add(table(step))
    place.add(RunEnd("success"))
    refusal = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "a key that is refused"}).encode()

    def script(method: str, path: str, body: bytes) -> Answer:
        if path.endswith("log-batch") and b"poison" in body:
            return Answer(400, {"Content-Type": "application/json"}, refusal)
        return forwarded(server, method, path, body)

    deliver(place, script, "poisoned", eventually)
    ((offset, reason),) = [(letter.offset, letter.reason) for letter in place.letters]
    assert offset == 21
    assert "a key that is refused" in reason
    has_each_point_once(server, "poisoned", 40)


def test_credentials_that_may_only_read_lose_nothing(tmp_path: Path, server: str, eventually: Eventually) -> None:
    """A person gives them the right to write after a while."""
    place, may_write = Place(tmp_path / "run", [table(step) for step in range(3)]), threading.Event()
    place.add(RunEnd("success"))

    def script(method: str, path: str, body: bytes) -> Answer:
        if path.endswith("log-batch") and not may_write.is_set():
            return Answer(403, {}, b"Permission denied")
        return forwarded(server, method, path, body)

    with serving(script) as proxy:
        sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=proxy, experiment="read")), times=TIMES)
        eventually(lambda: sink.status().retries > 1, 60, "the error")
        assert "MLFLOW_TRACKING_TOKEN" in sink.status().error
        may_write.set()
        assert sink.stop(drain=True, timeout=60)
    assert place.letters == []
    has_each_point_once(server, "read", 3)
