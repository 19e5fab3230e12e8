"""A service fails while a real daemon delivers to it: MLflow's server on sqlite, killed, or behind a failing proxy."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import places
from asynclogd import talk
from asynclogd.catalog import JOURNAL
from asynclogd.journal import Journal
from tests.daemon.backends.mlflowserver import MlflowServer, mlflow_server
from tests.daemon.httpservice import Answer, forwarded, serving
from tests.e2e.conftest import HERE, Start
from tests.e2e.oracle import csv_series, expect_unblocked, returned, value
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.mlflow, pytest.mark.timeout(360)]

Eventually = Callable[..., None]

OFTEN = """
[backends.csv]

[backends.mlflow]
tracking_uri = "{uri}"
experiment = "{experiment}"
delivery = {{ first_retry = 0.1, longest_retry = 0.2 }}
"""


THROTTLED, FAILED, GONE = Answer(429, {"Retry-After": "0"}), Answer(500), Answer(closes=True)

SENT = "/log-batch"
"""Requests that write metrics end so."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as started:
        yield started


def report(runtime: Path) -> dict[str, Any]:
    """What the daemon tells of itself. Asked for all the time it would have no other work."""
    time.sleep(0.1)
    return talk.ask(places.endpoint(runtime), timeout=30)


class Training:
    """A daemon that delivers to CSV and MLflow, and a rank that logs until it is told that it is enough."""

    def __init__(self, start: Start, out: Path, runtime: Path, eventually: Eventually) -> None:
        self.out, self._runtime, self._start, self._eventually = out, runtime, start, eventually

    def begin(self, uri: str, experiment: str) -> None:
        """Start both."""
        self._experiment, config = experiment, self.out / "asynclog.toml"
        config.write_text(OFTEN.format(uri=uri, experiment=experiment))
        # MLflow tries once more by itself, and waits for that as long as its environment says.
        at_once = {f"MLFLOW_HTTP_REQUEST_BACKOFF_{name}": "0" for name in ("FACTOR", "JITTER")}
        self._start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--config", config, **at_once)
        self._eventually((self._runtime / "daemon.sock").exists, what="the daemon")
        self._rank = self._start(
            sys.executable, HERE / "worker.py", self.out, "--period", "0.01", "--endless",
            "--until", self.out / "enough", ASYNCLOG_ENDPOINT=f"ipc://{self._runtime}/daemon.sock",
        )  # fmt: skip

    def backend(self, name: str) -> dict[str, Any]:
        """As the daemon has it, its share of the ledger beside it."""
        runs = report(self._runtime)["runs"]
        if not runs or name not in runs[0]["backends"]:
            return {"delivered": 0, "failures": 0, "state": "", "error": ""}
        return {**runs[0]["backends"][name], **runs[0]["ledger"]["backends"].get(name, {"delivered": 0})}

    def finish(self) -> tuple[int, dict[str, Any]]:
        """The rank ends; how many steps it has logged, and the ledger of the closed run, which accounts for them."""
        (self.out / "enough").touch()
        assert self._rank.wait(120) == 0
        steps = returned(self.out / "returned-run-0") + 1
        self._eventually(lambda: report(self._runtime)["closed_runs"], 120, "the run is closed")
        ((_, closed),) = report(self._runtime)["closed_runs"].items()
        ledger = closed["ledger"]
        assert (ledger["issued"], ledger["journaled"], ledger["in_transit"], ledger["dropped"]) == (steps, steps, 0, {})
        assert csv_series(self.out / "p" / "run", "loss") == {step: [value(0, step)] for step in range(steps)}
        return steps, dict(ledger)

    def end(self, server: MlflowServer, figures: Tell) -> None:
        """The same, and everything is in both, once."""
        steps, ledger = self.finish()
        for name in ("csv", "mlflow"):
            share = ledger["backends"][name]
            assert (share["delivered"], share["dead"], share["pending"]) == (steps, 0, 0), name
        assert history(server.uri, self._experiment) == {step: value(0, step) for step in range(steps)}
        figures(issued=steps, lost=0, doubled=0, log_p999_us=expect_unblocked(self.out))


@pytest.fixture
def training(start: Start, tmp_path: Path, runtime_dir: Path, eventually: Eventually) -> Training:
    return Training(start, tmp_path, runtime_dir, eventually)


@pytest.mark.fault("service-down")
def test_a_server_that_is_killed_while_a_rank_logs_has_everything_once_it_is_back(
    server: MlflowServer,
    training: Training,
    output: Callable[[], str],
    eventually: Eventually,
    figures: Tell,
) -> None:
    """Killed in the middle of its work: what it has answered to is there, and what it has not is sent again."""
    training.begin(server.uri, "killed")
    backend = training.backend
    eventually(lambda: backend("mlflow")["delivered"], 120, "MLflow's first rows")
    server.kill()
    eventually(lambda: backend("mlflow")["failures"], 120, "the daemon says so")
    told = backend("mlflow")
    assert told["state"] == "retrying"
    assert told["error"]
    further = backend("csv")["delivered"] + 300
    eventually(lambda: backend("csv")["delivered"] > further, 120, "CSV goes on")
    assert backend("mlflow")["delivered"] == told["delivered"], "it is really gone"
    assert (backend("csv")["state"], backend("csv")["failures"]) == ("ok", 0)
    server.start()
    eventually(lambda: backend("mlflow")["state"] == "ok", 120, "MLflow works again")
    training.end(server, figures)
    assert re.search(r"mlflow: works again after \d+ failures", output())
    assert "could not be taken" not in output()


@pytest.mark.fault("service-errors")
def test_a_server_that_fails_in_every_way_has_everything_once_it_does_not(
    server: MlflowServer, training: Training, eventually: Eventually, figures: Tell
) -> None:
    """429, 500 and a broken connection by turns, then an answer that takes seconds; CSV goes on."""
    failures = iter([THROTTLED, FAILED, GONE] * 3)
    slow, told = threading.Event(), set[str]()

    def script(method: str, path: str, body: bytes) -> Answer:
        failure = next(failures, None) if path.endswith(SENT) else None
        if path.endswith(SENT) and failure is None and not slow.is_set():
            slow.set()
            time.sleep(2)  # it is the fault itself
        return failure or forwarded(server.uri, method, path, body)

    def all_have_come() -> bool:
        told.add(training.backend("mlflow")["error"].partition(":")[0])
        return slow.is_set()

    with serving(script) as proxy:
        training.begin(proxy, "errors")
        eventually(all_have_come, 120, "all failures")
        further = training.backend("csv")["delivered"] + 100
        eventually(lambda: training.backend("csv")["delivered"] > further, 120, "CSV goes on")
        training.end(server, figures)
    assert "ThrottledError" in told


@pytest.mark.fault("answer-lost")
def test_answers_that_are_lost_after_the_server_has_committed_double_nothing(
    server: MlflowServer, training: Training, eventually: Eventually, figures: Tell
) -> None:
    """The first ones, and those after the daemon knows that some came through."""
    lost: list[bool] = []

    def script(method: str, path: str, body: bytes) -> Answer:
        answer = forwarded(server.uri, method, path, body)
        if path.endswith(SENT):
            lost.append(len(lost) % 5 < 2)
            return GONE if lost[-1] else answer
        return answer

    with serving(script) as proxy:
        training.begin(proxy, "lost")
        eventually(lambda: len(lost) > 6, 120, "answers that are lost, that come, and that are lost again")
        eventually(lambda: training.backend("mlflow")["delivered"] > 200, 120, "rows")
        training.end(server, figures)


@pytest.mark.fault("record-refused")
def test_a_step_that_the_server_refuses_for_good_is_a_dead_letter_and_the_rest_goes_on(
    server: MlflowServer, training: Training, eventually: Eventually, tmp_path: Path
) -> None:
    refusal = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "step 300 is refused"}).encode()

    def script(method: str, path: str, body: bytes) -> Answer:
        if path.endswith(SENT) and any(metric["step"] == 300 for metric in json.loads(body).get("metrics", ())):
            return Answer(400, {"Content-Type": "application/json"}, refusal)
        return forwarded(server.uri, method, path, body)

    with serving(script) as proxy:
        training.begin(proxy, "refused")
        eventually(lambda: training.backend("mlflow").get("dead"), 120, "a dead letter")
        further = training.backend("mlflow")["delivered"] + 100
        eventually(lambda: training.backend("mlflow")["delivered"] > further, 120, "MLflow goes on")
        steps, ledger = training.finish()
    dead = ledger["backends"]["mlflow"]["dead"]
    found = history(server.uri, "refused")
    assert 300 not in found
    assert len(found) == steps - dead == ledger["backends"]["mlflow"]["delivered"]
    assert found == {step: value(0, step) for step in range(steps) if step in found}
    assert ledger["backends"]["csv"]["delivered"] == steps
    with Journal.open(tmp_path / "p" / "run" / JOURNAL) as journal:
        reasons = {letter.backend: letter.reason for letter in journal.dead_letters()}
    assert "step 300 is refused" in reasons.pop("mlflow")
    assert not reasons


def history(uri: str, experiment: str) -> dict[int, float]:
    """What the server has of the one run of an experiment, which is over; each step once."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert run.info.status == "FINISHED"
    metrics = client.get_metric_history(run.info.run_id, "loss")
    found = {metric.step: metric.value for metric in metrics}
    assert len(metrics) == len(found)
    return found
