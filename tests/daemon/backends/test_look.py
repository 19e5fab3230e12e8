"""Where each backend says that its results are."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynclogd.fanout import looks
from tests.daemon.backends.test_contract import OURS

RUN = Path("/data/digits/run-7")

REMOTE: dict[str, tuple[dict[str, object], str]] = {
    "mlflow": ({"tracking_uri": "http://mlflow:5000"}, "http://mlflow:5000, experiment digits"),
    "wandb": (
        {"mode": "online", "host": "https://api.wandb.ai", "entity": "us"},
        "https://wandb.ai, project us/digits, run run-7",
    ),
    "comet": (
        {"online": True, "url": "https://comet.us", "workspace": "us"},
        "https://comet.us, project us/digits, experiment run-7",
    ),
    "neptune": ({"online": True, "project": "us/digits"}, "Neptune, project us/digits, run run-7"),
}


@pytest.mark.parametrize("name", OURS)
def test_every_backend_has_a_line_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", f"{RUN}/trackio")
    options = {"online": False} if name in ("comet", "neptune") else {}
    (line,) = looks(RUN, {name: options}).values()
    assert f"{RUN}/{name}" in line
    assert line != f"{RUN}/{name}"


@pytest.mark.parametrize("name", REMOTE)
def test_what_is_elsewhere_is_not_looked_for_here(name: str) -> None:
    options, line = REMOTE[name]
    assert looks(RUN, {name: options}) == {name: line}


def test_a_place_of_its_own_is_told_and_one_that_can_not_be_had_here_is_left_out() -> None:
    told = looks(RUN, {"csv": {"subdir": "tables"}, "jsonl": None, "gone": {"class": "no.such:Backend"}})
    assert told == {
        "csv": f"column -s, -t {RUN}/tables/metrics.csv | less -S",
        "jsonl": f"less {RUN}/jsonl/points.jsonl",
    }


def test_a_backend_that_says_nothing_is_in_its_directory() -> None:
    where = "tests.daemon.test_pipeline_sinks:Mine"
    assert looks(RUN, {"mine": {"class": where}}) == {"mine": f"{RUN}/mine"}
