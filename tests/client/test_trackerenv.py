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
from asynclog_proto.errors import ConfigError
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
        **given,
        "mlflow": {"tracking_uri": "env:MLFLOW_TRACKING_URI=postgresql://me:@host/db", "experiment": "mine"},
    }  # fmt: skip
    assert daemon_environ(secret) == secret


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("sqlite:///mlflow.db", "sqlite:////here/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=10", "sqlite:////here/mlflow.db?timeout=10"),
        ("sqlite:////there/mlflow.db", "sqlite:////there/mlflow.db"),
        ("sqlite+pysqlite:///mlflow.db", "sqlite+pysqlite:////here/mlflow.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///file:m.db?uri=true", "sqlite:///file:/here/m.db?uri=true"),
        ("sqlite:///file:/there/m.db?mode=ro&uri=true", "sqlite:///file:/there/m.db?mode=ro&uri=true"),
        ("sqlite:///file::memory:?uri=true", "sqlite:///file::memory:?uri=true"),
        ("sqlite:///file:m.db", "sqlite:////here/file:m.db"),
        ("file:./mlruns", "file:///here/mlruns"),
        ("file://mlruns", "file:///here/mlruns"),
        ("file:///there/mlruns", "file:///there/mlruns"),
        ("file://localhost/there", "file://localhost/there"),
        ("mlruns", "/here/mlruns"),
        ("./a/../mlruns", "/here/mlruns"),
        ("./a:b", "/here/a:b"),
        ("/there", "/there"),
        ("http://host:5000", "http://host:5000"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
        ("env:MINE", "http://mine:5000"),
        ("env:MINE_TOO", "sqlite:////here/mine.db"),
        ("env:SECRET", "env:SECRET=postgresql://me:@host/db"),
        ("env:SECRET=postgresql://me:@host/db", "env:SECRET=postgresql://me:@host/db"),
        ("env:NONE", "env:NONE"),
    ],
)
@pytest.mark.parametrize(("name", "more"), [("mlflow", {}), ("second", {"class": "asynclogd.backends.mlflow:M"})])
def test_an_address_is_one_of_the_process_that_gives_it(
    given: str, wanted: str, name: str, more: dict[str, str]
) -> None:
    environ = {
        "MINE": "http://mine:5000", "MINE_TOO": "sqlite:///mine.db", "SECRET": "postgresql://me:secret@host/db",
    }  # fmt: skip
    options = {"tracking_uri": given, "experiment": "e", **more}
    assert chosen({name: options}, environ, "/here", far=False) == ({name: {**options, "tracking_uri": wanted}}, "")
    if name == "mlflow" and not given.startswith("env:"):
        environ["MLFLOW_TRACKING_URI"] = given
        assert chosen({name: {}}, environ, "/here", far=False) == ({name: {"tracking_uri": wanted}}, "")


def test_a_directory_is_quoted_in_the_uri_of_a_file() -> None:
    settled = trackers.settled("mlflow", {"tracking_uri": "file:m"}, {}, "/my #1")
    assert settled == {"tracking_uri": "file:///my%20%231/m"}


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        ("credentials_file", "key.txt", "/here/key.txt"),
        ("credentials_file", "../key.txt", "/key.txt"),
        ("credentials_file", "/run/key", "/run/key"),
        ("credentials_file", "~/key", "~/key"),
        ("api_key", "file:key.txt", "file:/here/key.txt"),
        ("api_key", "file:/run/key", "file:/run/key"),
        ("api_key", "file:~/key", "file:~/key"),
        ("api_key", "env:KEY", "env:KEY"),
        ("notes", "file:key.txt", "file:key.txt"),
    ],
)
def test_so_is_a_file_with_a_secret(key: str, given: str, wanted: str) -> None:
    assert chosen({"mine": {key: given, "n": 1}}, {"KEY": "k"}, "/here", far=False)[0] == {
        "mine": {key: wanted, "n": 1}
    }


@pytest.mark.parametrize(
    ("name", "options", "environ"),
    [
        ("mlflow", {"tracking_uri": "sqlite:///mlflow.db"}, {}),
        ("mlflow", {}, {"MLFLOW_TRACKING_URI": "mlruns"}),
        ("comet", {"credentials_file": "key.txt"}, {}),
        ("mine", {"token": "file:key.txt"}, {}),
    ],
)
def test_in_a_directory_that_has_gone_nothing_is_relative(
    name: str, options: dict[str, str], environ: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=rf"backend '{name}'.* is relative, and the current directory has gone"):
        chosen({name: options}, environ, None, far=False)
    assert chosen({name: options}, environ, None, far=True) == ({name: options}, "")
    assert chosen({"mlflow": {"tracking_uri": "/there"}}, {}, None, far=False)[1] == ""


SECRET = "https://me:pw@host/x"


@pytest.mark.parametrize(
    ("name", "variable"),
    [("wandb", "WANDB_NOTES"), ("wandb", "WANDB_TAGS"), ("mlflow", "MLFLOW_EXPERIMENT_NAME")],
)
def test_a_variable_with_a_password_in_it_is_no_option_and_that_is_said(name: str, variable: str) -> None:
    environ = {variable: f"data, from {SECRET}", "WANDB_PROJECT": "p"}
    found, told = chosen({name: {}, "csv": {}}, environ, "/here", far=False)
    assert found == {name: {"project": "p"} if name == "wandb" else {}, "csv": {}}
    assert told.startswith(f"{variable}: no option of {name}, ")
    assert "pw" not in told
    assert variable not in daemon_environ(environ)
    option = {variable.lower().split("_")[1]: "mine"}
    assert chosen({name: option}, environ, "/here", far=False)[1] == ""


def test_a_run_is_begun_without_it_and_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.warns(asynclog.AsynclogWarning, match="MLFLOW_EXPERIMENT_NAME: no option of mlflow") as told:
        run = asynclog.init("p", "run", dir=str(tmp_path), backends={"csv": {}, "mlflow": {}}, mode="offline")
    assert len(told) == 1
    run.log({"loss": 1.0})
    run.finish()
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if b"me:pw" in path.read_bytes()]


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
