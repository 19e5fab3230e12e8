"""MLflow behind a real sink, while somebody deletes what it writes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclogd.backends.mlflow import MlflowBackend, MlflowConfig
from asynclogd.delivery import SinkSettings
from asynclogd.points import Params
from asynclogd.sink import Sink
from tests.daemon.sinkplace import Place
from tests.daemon.tables import table

pytestmark = [pytest.mark.mlflow, pytest.mark.timeout(180)]

Eventually = Callable[..., None]

TIMES = SinkSettings(flush_interval=0.0, first_retry=0.01, longest_retry=0.05)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "run", [Params({"lr": 0.1}), *(table(step) for step in range(5))])


def delivering(place: Place, eventually: Eventually, **options: Any) -> Sink:
    sink = place.sink(MlflowBackend(MlflowConfig(**options)), times=TIMES)
    eventually(lambda: sink.status().lag == 0, 60, "the first items")
    return sink


def more(place: Place, sink: Sink, steps: range) -> None:
    for step in steps:
        place.add(table(step))
    sink.wake()


def run_of(place: Place) -> str:
    assert place.cursor.position is not None
    return str(place.cursor.position["run"])


def has_all(uri: str, run_id: str, steps: int) -> None:
    import mlflow

    client = mlflow.MlflowClient(uri)
    assert client.get_run(run_id).data.params == {"lr": "0.1"}
    for column, name in enumerate("ab"):
        history = client.get_metric_history(run_id, name)
        assert [(m.step, m.value) for m in history] == [(step, step + column / 10) for step in range(steps)]


def test_a_run_that_was_deleted_is_followed_by_one_that_has_everything(
    place: Place, database: str, eventually: Eventually
) -> None:
    import mlflow

    sink = delivering(place, eventually, tracking_uri=database, experiment="deleted runs")
    first = run_of(place)
    mlflow.MlflowClient(database).delete_run(first)
    more(place, sink, range(5, 8))
    assert sink.stop(drain=True, timeout=60)
    assert (sink.status().started_over, place.letters) == (1, [])
    assert run_of(place) != first
    has_all(database, run_of(place), 8)


def test_a_database_that_was_removed_is_made_anew_with_everything(place: Place, eventually: Eventually) -> None:
    sink = delivering(place, eventually)
    file = place.run.own_dir / "mlflow.db"
    file.unlink()
    more(place, sink, range(5, 8))
    assert sink.stop(drain=True, timeout=60)
    assert place.letters == []
    has_all(f"sqlite:///{file}", run_of(place), 8)


def test_an_experiment_that_was_deleted_is_one_clear_error_until_it_is_restored(
    place: Place, database: str, eventually: Eventually
) -> None:
    import mlflow

    client = mlflow.MlflowClient(database)
    sink = delivering(place, eventually, tracking_uri=database, experiment="dropped")
    experiment = client.get_experiment_by_name("dropped").experiment_id
    client.delete_experiment(experiment)
    more(place, sink, range(5, 8))
    eventually(lambda: sink.status().state == "broken", 60, "the error")
    assert "MLflow's experiment 'dropped' was deleted: restore it" in sink.status().error
    client.restore_experiment(experiment)
    eventually(lambda: sink.status().lag == 0, 60, "everything delivered")
    assert sink.stop(drain=True, timeout=60)
    assert place.letters == []
    has_all(database, run_of(place), 8)


def test_a_run_that_the_user_named_is_never_replaced(place: Place, database: str, eventually: Eventually) -> None:
    import mlflow

    client = mlflow.MlflowClient(database)
    theirs = client.create_run(client.create_experiment("theirs")).info.run_id
    sink = delivering(place, eventually, tracking_uri=database, run_id=theirs)
    client.delete_run(theirs)
    more(place, sink, range(5, 8))
    eventually(lambda: sink.status().state == "broken", 60, "the error")
    assert f"option 'run_id': run {theirs} was deleted: restore it" in sink.status().error
    client.restore_run(theirs)
    assert sink.stop(drain=True, timeout=60)
    assert (sink.status().started_over, place.letters) == (0, [])
    has_all(database, theirs, 8)
