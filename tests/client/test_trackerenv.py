"""The trackers' standard variables: whose they are, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog.launcher import daemon_environ
from asynclog.trackerenv import chosen
from asynclog_proto import trackers
from tests.daemon.backends import wandbreader

SAID = {
    "WANDB_PROJECT": "p",
    "WANDB_ENTITY": "me",
    "WANDB_NAME": "nice",
    "WANDB_NOTES": "n",
    "WANDB_TAGS": "a, b,",
    "WANDB_RUN_GROUP": "g",
    "WANDB_JOB_TYPE": "train",
    "WANDB_MODE": "offline",
}


def test_a_variable_holds_where_the_option_is_not_given() -> None:
    given = {"wandb": {"name": "mine"}, "csv": {}}
    said = {
        "project": "p", "name": "mine", "notes": "n", "tags": ["a", "b"], "group": "g", "job_type": "train",
        "mode": "offline",
    }  # fmt: skip
    assert chosen(given, {**SAID, "WANDB_ENTITY": ""}, "/here", far=False) == ({**given, "wandb": said}, "")


def test_it_does_not_for_other_backends_nor_for_a_daemon_that_takes_no_options() -> None:
    assert chosen({"csv": {}}, SAID, "/here", far=False) == ({"csv": {}}, "")
    assert chosen(None, SAID, "/here", far=False) == (None, "")
    assert chosen({"wandb": {}}, SAID, "/here", far=True) == ({"wandb": {}}, "")
    assert chosen({"wandb": {}}, {"WANDB_MODE": "disabled"}, "/here", far=True)[0] == {}


def test_a_daemon_that_is_started_for_a_run_has_none_of_that_runs() -> None:
    assert daemon_environ({**SAID, "WANDB_API_KEY": "k", "WANDB_BASE_URL": "u"}) == {
        "WANDB_API_KEY": "k",
        "WANDB_BASE_URL": "u",
    }


def test_other_trackers_have_theirs_and_an_address_with_a_password_is_left_to_the_daemon() -> None:
    given: dict[str, dict[str, Any]] = {"mlflow": {"experiment": "mine"}, "comet": {}, "neptune": {}}
    environ = {
        "MLFLOW_TRACKING_URI": "http://host:5000", "MLFLOW_EXPERIMENT_NAME": "e", "COMET_WORKSPACE": "me",
        "NEPTUNE_PROJECT": "me/p", "MLFLOW_TRACKING_TOKEN": "t",
    }  # fmt: skip
    found, told = chosen(given, environ, "/here", far=False)
    assert (found, told) == (
        {
            "mlflow": {"tracking_uri": "http://host:5000", "experiment": "mine"},
            "comet": {"workspace": "me"},
            "neptune": {"project": "me/p"},
        },
        "",
    )
    assert daemon_environ(environ) == {"MLFLOW_TRACKING_TOKEN": "t"}
    secret = {"MLFLOW_TRACKING_URI": "postgresql://me:secret@host/db"}
    assert chosen(given, secret, "/here", far=False)[0] == {
        **given, "mlflow": {"tracking_uri": "env:MLFLOW_TRACKING_URI", "experiment": "mine"},
    }  # fmt: skip
    assert daemon_environ(secret) == secret


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("sqlite:///mlflow.db", "sqlite:////here/mlflow.db"),
        ("sqlite:////there/mlflow.db", "sqlite:////there/mlflow.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("file:./mlruns", "file:///here/mlruns"),
        ("file:///there/mlruns", "file:///there/mlruns"),
        ("mlruns", "/here/mlruns"),
        ("./a/../mlruns", "/here/mlruns"),
        ("/there", "/there"),
        ("http://host:5000", "http://host:5000"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_an_address_is_one_of_the_directory_of_who_gives_it(given: str, wanted: str) -> None:
    assert trackers.settled("mlflow", {"tracking_uri": given, "experiment": "e"}, "/here") == {
        "tracking_uri": wanted, "experiment": "e",
    }  # fmt: skip
    assert trackers.settled("other", {"tracking_uri": given}, "/here") == {"tracking_uri": given}
    assert chosen({"mlflow": {}}, {"MLFLOW_TRACKING_URI": given}, "/here", far=False)[0] == {
        "mlflow": {"tracking_uri": wanted}
    }


@pytest.mark.sdk
def test_each_run_of_one_daemon_has_what_its_own_process_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def about(name: str, **options: Any) -> dict[str, Any]:
        with asynclog.init("digits", name, dir=str(tmp_path), backends={"wandb": options}) as run:
            run.log({"loss": 1.0})
            assert run.finish().complete
        file = wandbreader.file_of(tmp_path / "digits" / name / "wandb")
        (found,) = [content for kind, content in wandbreader.told(file) if kind == "run"]
        return found

    for name, value in SAID.items():
        monkeypatch.setenv(name, value)
    first = about("one")
    assert [first[key] for key in ("project", "entity", "display_name", "run_group")] == ["p", "me", "nice", "g"]
    assert (first["tags"], first["job_type"], first["notes"]) == (["a", "b"], "train", "n")
    for name in SAID:
        monkeypatch.delenv(name)
    second = about("two", mode="offline")
    assert (second["project"], second["display_name"]) == ("digits", "two")
    assert not second.keys() & {"entity", "run_group", "tags", "job_type", "notes"}


@pytest.mark.parametrize("by", ["variable", "option"])
def test_nothing_is_written_for_a_wandb_that_is_disabled_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "variable":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    options = {"mode": "disabled"} if by == "option" else {}
    with pytest.warns(asynclog.AsynclogWarning, match="wandb is disabled") as told:
        run = asynclog.init("p", "run", dir=str(tmp_path), backends={"wandb": options, "jsonl": {}})
    assert len(told) == 1
    run.log({"loss": 1.0}, step=3)
    assert list(run.finish().backends) == ["jsonl"]
    assert not (tmp_path / "p" / "run" / "wandb").exists()
    assert json.loads((tmp_path / "p" / "run" / "jsonl" / "points.jsonl").read_text().splitlines()[-1])
