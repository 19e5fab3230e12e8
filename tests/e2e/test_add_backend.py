"""A backend that a run is given after it has begun, by a tool or by a later rank: it gets all of the run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import asynclog
from asynclog_proto import places
from asynclog_proto.frames import AddBackend
from asynclogd import talk

Eventually = Callable[..., None]

pytestmark = pytest.mark.timeout(120)

LATE: dict[str, object] = {"subdir": "late"}


def endpoint() -> str:
    return places.endpoint(places.runtime_dir(os.environ, os.getuid()))


def asked(directory: Path, name: str = "jsonl", options: dict[str, object] | None = None) -> AddBackend:
    return AddBackend("p", "r", str(directory), name, options or {})


def lines(path: Path) -> list[float]:
    entries = map(json.loads, path.read_text().splitlines() if path.exists() else [])
    return [entry["metrics"]["loss"] for entry in entries if "loss" in entry.get("metrics", {})]


def test_a_run_that_goes_on_gets_one_more_backend_from_its_beginning(tmp_path: Path, eventually: Eventually) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        for step in range(50):
            run.log({"loss": float(step)}, step=step)
        run.flush()
        report = talk.request(endpoint(), asked(tmp_path, options=LATE), 30)
        assert set(report["runs"][0]["backends"]) == {"csv", "jsonl"}
        for step in range(50, 80):
            run.log({"loss": float(step)}, step=step)
    eventually(lambda: len(lines(tmp_path / "p" / "r" / "late" / "points.jsonl")) == 80, 30, "all of the run")
    assert lines(tmp_path / "p" / "r" / "late" / "points.jsonl") == [float(step) for step in range(80)]


def test_a_run_that_is_over_is_opened_for_it(tmp_path: Path, eventually: Eventually) -> None:
    def closed() -> set[str]:
        """The backends of the run, once it is closed: it is neither open nor closed for a moment."""
        run = talk.ask(endpoint())["closed_runs"].get(str(tmp_path / "p" / "r"))
        return set(run["ledger"]["backends"]) if run else set()

    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        run.log({"loss": 1.5}, step=0)
    eventually(closed, 30, "the run's closing")
    talk.request(endpoint(), asked(tmp_path), 30)
    eventually(lambda: lines(tmp_path / "p" / "r" / "jsonl" / "points.jsonl") == [1.5], 30, "delivery")
    eventually(lambda: closed() == {"csv", "jsonl"}, 30, "the run's closing with both")


@pytest.mark.filterwarnings("ignore:asynclog. run p/r exists")  # that is meant
def test_a_later_process_of_the_run_may_bring_one(tmp_path: Path) -> None:
    for first, backends in ((0, ["csv"]), (10, ["csv", "jsonl"])):
        with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=backends) as run:
            for step in range(first, first + 10):
                run.log({"loss": float(step)}, step=step)
    assert lines(tmp_path / "p" / "r" / "jsonl" / "points.jsonl") == [float(step) for step in range(20)]


def test_asked_twice_it_is_there_once_and_another_of_its_name_is_refused(tmp_path: Path) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["csv"]) as run:
        run.log({"loss": 1.5}, step=0)
        run.flush()
        for _ in range(2):
            talk.request(endpoint(), asked(tmp_path, options=LATE), 30)
        with pytest.raises(talk.RefusedError, match="has a backend 'jsonl' already, with other options"):
            talk.request(endpoint(), asked(tmp_path), 30)
        with pytest.raises(talk.RefusedError, match=r"backend 'jsonk': there is none .* did you mean 'jsonl'"):
            talk.request(endpoint(), asked(tmp_path, "jsonk"), 30)


def test_a_run_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with asynclog.init(project="p", name="other", dir=str(tmp_path), backends=["csv"]):
        with pytest.raises(talk.RefusedError, match="there is no run at"):
            talk.request(endpoint(), asked(tmp_path), 30)
        assert not (tmp_path / "p" / "r").exists()
