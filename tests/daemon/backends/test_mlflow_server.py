"""MLflow before a real server, which is throttled, fails, breaks off and refuses credentials on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asynclogd.backends.base import RunInfo
from asynclogd.backends.mlflow import MlflowBackend, MlflowConfig
from asynclogd.delivery import SinkSettings
from asynclogd.points import Params, RunEnd
from asynclogd.samples import table as points_of
from tests.daemon.backends.mlflowserver import mlflow_server
from tests.daemon.httpservice import Answer, forwarded, serving
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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri


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


def test_everything_is_there_once_after_429_and_500_and_broken_connections(
    tmp_path: Path, server: str, eventually: Eventually
) -> None:
    import mlflow

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
    client = mlflow.MlflowClient(server)
    (run,) = client.search_runs([client.get_experiment_by_name("project").experiment_id])
    assert run.info.status == "FINISHED"
    for column, name in enumerate("ab"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in history] == [(step, step + column / 10) for step in range(100)]


def test_wrong_credentials_are_one_error_that_says_so(tmp_path: Path, eventually: Eventually) -> None:
    place = Place(tmp_path / "run", [table(0)])
    with serving(lambda *_: Answer(401, {"WWW-Authenticate": "Basic"}, b"You are not authenticated")) as uri:
        sink = place.sink(MlflowBackend(MlflowConfig(tracking_uri=uri)), times=TIMES)
        eventually(lambda: sink.status().retries > 1, 60, "the error")
        assert "401" in sink.status().error
        assert sink.status().dead_letters == sink.offset == 0
        assert sink.stop(drain=False, timeout=60)
