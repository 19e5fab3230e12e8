"""A service is killed and started again while a real daemon delivers to it: MLflow's server, on sqlite."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import places
from asynclogd import talk
from tests.daemon.backends.mlflowserver import MlflowServer, mlflow_server
from tests.e2e.conftest import HERE, Start
from tests.e2e.oracle import csv_series, log_p999_us, returned, value
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.mlflow, pytest.mark.timeout(180)]

Eventually = Callable[..., None]

OFTEN = """
[backends.csv]

[backends.mlflow]
tracking_uri = "{uri}"
delivery = {{ first_retry = 0.1, longest_retry = 0.2 }}
"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as started:
        yield started


def report(runtime: Path) -> dict[str, Any]:
    """What the daemon tells of itself."""
    return talk.ask(places.endpoint(runtime), timeout=30)


@pytest.mark.fault("service-down")
def test_a_server_that_is_killed_while_a_rank_logs_has_everything_once_it_is_back(
    server: MlflowServer,
    start: Start,
    tmp_path: Path,
    output: Callable[[], str],
    runtime_dir: Path,
    eventually: Eventually,
    figures: Tell,
) -> None:
    """Killed in the middle of its work: what it has answered to is there, and what it has not is sent again."""
    config, enough = tmp_path / "asynclog.toml", tmp_path / "enough"
    config.write_text(OFTEN.format(uri=server.uri))
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--config", config)
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    rank = start(
        sys.executable, HERE / "worker.py", tmp_path, "--period", "0.004", "--endless", "--until", enough,
        ASYNCLOG_ENDPOINT=f"ipc://{runtime_dir}/daemon.sock",
    )  # fmt: skip

    def backend(name: str) -> dict[str, Any]:
        runs = report(runtime_dir)["runs"]
        if not runs or name not in runs[0]["backends"]:
            return {"delivered": 0, "failures": 0, "state": "", "error": ""}
        return {**runs[0]["backends"][name], **runs[0]["ledger"]["backends"].get(name, {"delivered": 0})}

    eventually(lambda: backend("mlflow")["delivered"], 60, "MLflow's first rows")
    server.kill()
    eventually(lambda: backend("mlflow")["failures"], 60, "the daemon says so")
    told = backend("mlflow")
    assert told["state"] == "retrying"
    assert told["error"]
    further = backend("csv")["delivered"] + 300
    eventually(lambda: backend("csv")["delivered"] > further, 60, "CSV goes on")
    assert backend("mlflow")["delivered"] == told["delivered"], "it is really gone"
    assert (backend("csv")["state"], backend("csv")["failures"]) == ("ok", 0)
    server.start()
    eventually(lambda: backend("mlflow")["state"] == "ok", 60, "MLflow works again")
    enough.touch()
    assert rank.wait(90) == 0, output()
    steps = returned(tmp_path / "returned-run-0") + 1
    check_ledger(runtime_dir, eventually, steps)
    check_mlflow(server.uri, {step: value(0, step) for step in range(steps)})
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [value(0, step)] for step in range(steps)}
    assert re.search(r"mlflow: works again after \d+ failures", output())
    assert "could not be taken" not in output()
    figures(issued=steps, lost=0, doubled=0, log_p999_us=log_p999_us(tmp_path))


def check_mlflow(uri: str, expected: dict[int, float]) -> None:
    """The server has one run, which is over, and each step of it once."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert len(history) == len(expected)
    assert {metric.step: metric.value for metric in history} == expected


def check_ledger(runtime: Path, eventually: Eventually, steps: int) -> None:
    """All that was logged was delivered, to both."""
    eventually(lambda: report(runtime)["closed_runs"], 60, "the run is closed")
    ((_, closed),) = report(runtime)["closed_runs"].items()
    ledger = closed["ledger"]
    assert (ledger["issued"], ledger["journaled"], ledger["in_transit"], ledger["dropped"]) == (steps, steps, 0, {})
    for name in ("csv", "mlflow"):
        share = ledger["backends"][name]
        assert (share["delivered"], share["dead"], share["pending"]) == (steps, 0, 0), name
