"""`init(resume=...)`: series go on, and steps that are run again supersede those of before, in each backend's way."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import asynclog
from asynclog_proto.errors import ConfigError
from tests.e2e.oracle import csv_series, tensorboard_series
from tests.e2e.stored import asynclog_command, jsonl_points, told

pytestmark = pytest.mark.timeout(120)


def logged(directory: Path, first: int | None, count: int, offset: float, **init: object) -> asynclog.Ledger:
    """`count` steps of `loss` = step + offset; steps are counted by log() itself when `first` is None."""
    with asynclog.init("p", dir=str(directory), **init) as run:  # type: ignore[arg-type]
        for at in range(count):
            if first is None:
                run.log({"loss": offset + at})
            else:
                run.log({"loss": offset + first + at}, step=first + at)
        return run.finish()


def mlflow_series(run_dir: Path, name: str) -> list[tuple[int, float]]:
    """Every value that MLflow has of a metric, by its own client."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{run_dir / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("p")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


@pytest.mark.parametrize("closed", [False, True], ids=["its daemon has it open", "it was closed just now"])
def test_a_name_that_is_used_again_at_once_is_told(tmp_path: Path, closed: bool, eventually) -> None:
    logged(tmp_path, 0, 5, 0.0, name="run", backends=["csv"])
    if closed:
        eventually(lambda: told("runs", tmp_path)[0]["complete"], 30, "the daemon has closed the run")
    with pytest.warns(asynclog.AsynclogWarning, match="run p/run exists: it goes on"):
        logged(tmp_path, 5, 5, 0.0, name="run", backends=["csv"])


@pytest.mark.mlflow
def test_steps_that_are_run_again_supersede_those_of_before_in_every_backend(tmp_path: Path) -> None:
    everywhere = ["tensorboard", "csv", "jsonl", "mlflow"]
    logged(tmp_path, 0, 20, 0.0, name="run", backends=everywhere)
    ledger = logged(tmp_path, 12, 20, 1000.0, resume="run")
    assert ledger.complete, str(ledger)
    wanted = {step: [float(step)] for step in range(12)} | {step: [1000.0 + step] for step in range(12, 32)}
    run_dir = tmp_path / "p" / "run"
    assert csv_series(run_dir, "loss") == wanted
    points = jsonl_points(run_dir / "jsonl" / "points.jsonl")
    assert [point[1:] for point in points if point[0] == "loss"] == [(step, wanted[step][0]) for step in range(32)]
    # TensorBoard's loader drops, when it purges, what a later start of the run supersedes, and nothing else.
    assert purged_series(run_dir, "loss") == wanted
    assert len(tensorboard_series(run_dir, "loss")) == 32
    # MLflow keeps both; what it shows as the value of a step is the later one.
    found = mlflow_series(run_dir, "loss")
    assert dict(found) == {step: values[0] for step, values in wanted.items()}
    assert len(found) == 40
    shown = told("show", run_dir)
    assert shown["generations"] == 2
    assert (shown["series"]["loss"]["points"], shown["series"]["loss"]["min"]) == (32, 0.0)


def purged_series(run_dir: Path, name: str) -> dict[int, list[float]]:
    """A series as TensorBoard shows it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    series: dict[int, list[float]] = {}
    for event in accumulator.Scalars(name):
        series.setdefault(event.step, []).append(event.value)
    return series


def test_steps_that_log_counts_go_on_behind_the_last_one(tmp_path: Path) -> None:
    logged(tmp_path, None, 10, 0.0, name="run", backends=["csv"])
    logged(tmp_path, None, 10, 10.0, resume="run")
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [float(step)] for step in range(20)}


def test_so_they_do_when_the_daemon_has_ended_meanwhile(tmp_path: Path) -> None:
    with asynclog.init("p", "run", dir=str(tmp_path), backends=["csv"], mode="offline") as run:
        for step in range(7):
            run.log({"loss": float(step)}, step=step)
    assert asynclog_command("sync", tmp_path).returncode == 0
    logged(tmp_path, None, 3, 7.0, resume="run")
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [float(step)] for step in range(10)}


def test_every_rank_of_a_resumed_run_counts_from_the_same_step(tmp_path: Path, puppets) -> None:
    logged(tmp_path, 0, 10, 0.0, name="run", backends=["csv"])
    ranks = puppets(2, resume="run")
    ranks[0]("log", {"loss": 1.0})  # before the other one has said anything
    assert [rank("step") for rank in ranks] == [10, 9]
    ranks[1]("log", {"loss": 3.0})
    for rank in ranks:
        rank.ask("finish")
    assert all("0 pending" in rank.answer() for rank in ranks)
    assert csv_series(tmp_path / "p" / "run", "loss")[10] == [2.0]


def test_it_keeps_the_backends_that_it_has_and_takes_more(tmp_path: Path) -> None:
    logged(tmp_path, 0, 5, 0.0, name="run", backends=["jsonl"])
    logged(tmp_path, 5, 5, 0.0, resume="run")
    run_dir = tmp_path / "p" / "run"
    assert list(told("show", run_dir)["backends"]) == ["jsonl"]
    logged(tmp_path, 10, 5, 0.0, resume="run", backends=["csv"])
    assert csv_series(run_dir, "loss") == {step: [float(step)] for step in range(15)}


def test_what_a_backend_is_shown_may_change_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    nothing: dict[str, object] = {"csv": {"rate_limit": {"loss": 0}}}
    logged(tmp_path, 0, 5, 0.0, name="run", backends=["csv"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logged(tmp_path, 5, 5, 0.0, resume="run", backends=nothing)
        ledger = logged(tmp_path, 10, 5, 0.0, resume="run", backends=["csv"])  # names no options
    run_dir = tmp_path / "p" / "run"
    assert csv_series(run_dir, "loss") == {step: [float(step)] for step in range(5)}
    assert ledger.backends["csv"].limited == 10
    logged(tmp_path, 15, 5, 0.0, resume="run", backends={"csv": {"rate_limit": {}}})
    assert csv_series(run_dir, "loss") == {step: [float(step)] for step in (*range(5), *range(15, 20))}


def test_options_that_say_where_a_backends_data_are_stay_and_that_is_said(tmp_path: Path) -> None:
    first: dict[str, object] = {"csv": {"subdir": "tables", "hparams": False}}
    logged(tmp_path, 0, 5, 0.0, name="run", backends=first)
    with pytest.warns(asynclog.AsynclogWarning, match=r"keep their options: csv\.subdir has no effect \(rate_limit, "):
        logged(tmp_path, 5, 5, 0.0, resume="run", backends={"csv": {"subdir": "csv", "hparams": False, "whole": []}})
    with (tmp_path / "p" / "run" / "tables" / "metrics.csv").open() as file:
        assert len(file.readlines()) == 11
    assert not (tmp_path / "p" / "run" / "csv").exists()


def test_a_run_that_is_not_there_is_told_with_those_that_are_near(tmp_path: Path) -> None:
    (tmp_path / "p" / "digits-7").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"resume='digits-8': there is no such run in .*; did you mean 'digits-7'\?"):
        asynclog.init("p", resume="digits-8", dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no such run in .*/q$"):
        asynclog.init("q", resume="run", dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r"resume='a' names the run already: leave out name='b'"):
        asynclog.init("p", "b", resume="a", dir=str(tmp_path))


def test_resuming_is_no_surprise_and_not_warned_of(tmp_path: Path) -> None:
    logged(tmp_path, 0, 5, 0.0, name="run", backends=["csv"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logged(tmp_path, 5, 5, 0.0, resume="run")


def test_offline_the_last_step_is_unknown_and_that_is_said(tmp_path: Path) -> None:
    logged(tmp_path, 0, 5, 0.0, name="run", backends=["csv"])
    with pytest.warns(asynclog.AsynclogWarning, match=r"last step of the run that is resumed is unknown \(offline"):
        asynclog.init("p", resume="run", dir=str(tmp_path), mode="offline").finish()
