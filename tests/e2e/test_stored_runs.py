"""`asynclog runs`, `show` and `export`: of runs that are over, and beside a daemon that has the run open."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import asynclog
from asynclogd.journal import Journal
from tests.e2e.stored import asynclog_command, jsonl_points, logged_points, told

pytestmark = pytest.mark.timeout(120)


def test_runs_are_listed_with_what_became_of_them(tmp_path: Path, finished) -> None:
    finished(tmp_path, "done")
    asynclog.init("p", "offline", dir=str(tmp_path), mode="offline").finish()
    (tmp_path / "p" / "spoiled").mkdir()
    (tmp_path / "p" / "spoiled" / "journal.sqlite").write_bytes(b"no database at all, but long enough to look like one")
    found = {run["name"]: run for run in told("runs", tmp_path)}
    assert found["done"]["status"] == "success"
    assert found["done"]["complete"]
    assert (found["done"]["step"], found["done"]["points"], found["done"]["values"]) == (99, 110, 110)
    assert found["done"]["backends"] == {"csv": {"behind_items": 0}}
    assert (found["offline"]["status"], found["offline"]["complete"]) == ("spooled", False)
    assert found["offline"]["spooled_bytes"] > 0
    assert found["spoiled"]["status"] == "unreadable"
    assert "journal.sqlite" in found["spoiled"]["error"]
    listed = asynclog_command("runs", tmp_path)
    assert listed.returncode == 0
    for part in ("p/done", "success", "p/offline", "spooled", "unreadable", "spoiled can't be read"):
        assert part in listed.stdout


def test_no_runs_is_said_and_no_error(tmp_path: Path) -> None:
    assert told("runs", tmp_path) == []
    assert "there are no runs below" in asynclog_command("runs", tmp_path).stdout


def test_a_run_is_shown_with_its_last_values_extremes_ranks_and_ledger(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    before = (run_dir / "journal.sqlite").stat().st_mtime_ns
    shown = told("show", run_dir)
    loss = shown["series"]["loss"]
    assert [loss[key] for key in ("points", "first_step", "last_step", "last", "min", "max", "not_finite")] == [
        *(100, 0, 99, 99 / 8, 0.0, 99 / 8, 0)
    ]
    assert (loss["sparkline"][0], loss["sparkline"][-1]) == ("▁", "█")
    assert (shown["params"], shown["summary"]) == ({"lr": 0.5}, {"best": 0.25})
    assert [(rank["rank"], rank["state"], rank["issued"]) for rank in shown["ranks"]] == [(0, "ended", 110)]
    assert shown["ledger"]["backends"]["csv"]["delivered"] == 110
    text = asynclog_command("show", "--dir", tmp_path, "run").stdout
    for part in ("p/run", "success", "val/acc", "lr=0.5", "best=0.25", "values issued 110", "column -s,"):
        assert part in text
    assert (run_dir / "journal.sqlite").stat().st_mtime_ns == before


def test_values_that_are_not_finite_are_told(tmp_path: Path) -> None:
    run = asynclog.init("p", "run", dir=str(tmp_path), backends=["csv"], mode="offline")
    run.log({"loss": math.nan}, step=0)
    run.log({"loss": -math.inf}, step=1)
    run.finish()
    assert asynclog_command("sync", tmp_path).returncode == 0
    series = told("show", tmp_path / "p" / "run")["series"]["loss"]
    assert [series[key] for key in ("last", "min", "max", "not_finite", "sparkline")] == ["-inf", None, None, 2, "!!"]
    assert "values that are not finite: loss 2" in asynclog_command("show", tmp_path / "p" / "run").stdout


def test_a_run_that_is_not_there_is_told_with_those_that_are_near(tmp_path: Path, finished) -> None:
    finished(tmp_path, "digits-7")
    done = asynclog_command("show", "--dir", tmp_path, "digit-7")
    assert done.returncode == 2
    assert done.stderr.startswith("asynclog: there is no run 'digit-7' below ")
    assert "did you mean p/digits-7?" in done.stderr


@pytest.mark.filterwarnings("ignore:.*run p/run exists")
def test_what_waits_in_a_spool_is_told(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    run = asynclog.init("p", "run", dir=str(tmp_path), mode="offline")
    run.log({"loss": 1.0}, step=200)
    run.finish()
    shown = asynclog_command("show", run_dir).stdout
    assert "wait in its spool and are not in what follows: asynclog sync" in " ".join(shown.split())


def test_a_run_that_goes_on_is_shown_and_exported_as_it_is(tmp_path: Path, puppets, eventually) -> None:
    (rank,) = puppets(1)
    for step in range(50):
        rank("log", {"loss": step / 8}, step)
    assert rank("flush")
    run_dir = tmp_path / "p" / "run"
    (listed,) = told("runs", tmp_path)
    assert (listed["status"], listed["step"]) == ("running", 49)
    assert told("show", run_dir)["series"]["loss"]["last"] == 49 / 8
    text = asynclog_command("show", run_dir).stdout
    assert "it is running" in text
    assert "silent for" in text  # what its daemon knows of the ranks
    out = tmp_path / "out"
    exported = asynclog_command("export", run_dir, "--format", "jsonl", "--out", out)
    assert exported.returncode == 0, exported.stderr
    assert "the run goes on: this is as far as it was" in exported.stdout
    points = jsonl_points(out / "points.jsonl")
    assert {point for point in points if point[0] == "loss"} == {("loss", step, step / 8) for step in range(50)}
    rank("log", {"loss": 0.0}, 50)
    assert "0 pending" in rank("finish")  # nobody has disturbed it
    eventually(lambda: told("runs", tmp_path)[0]["complete"], 30, "the daemon has closed the run")


def test_a_run_that_has_ended_is_exported_whole_while_its_daemon_has_it_open(tmp_path: Path, finished) -> None:
    run_dir, out = finished(tmp_path), tmp_path / "out"
    with Journal.open(run_dir / "journal.sqlite"):
        (listed,) = told("runs", tmp_path)
        assert (listed["status"], listed["complete"]) == ("success", False)
        done = asynclog_command("export", run_dir, "--format", "jsonl", "--out", out)
    assert done.stdout.split() == [str(out) + ":", "110", "points"], done.stderr
    assert set(jsonl_points(out / "points.jsonl")) == logged_points(100)


STOPPED = """
import os, signal, sys, time, asynclog
run = asynclog.init("p", sys.argv[2], dir=sys.argv[1], backends=["jsonl"])
run.log({"loss": 1.0}, step=0)
assert run.flush()
os.kill(os.getpid(), signal.Signals[sys.argv[2]])
time.sleep(60)
"""


def test_a_run_that_was_interrupted_and_one_that_was_killed_are_told_apart(tmp_path: Path, eventually) -> None:
    for way in ("SIGINT", "SIGKILL"):
        subprocess.run([sys.executable, "-c", STOPPED, tmp_path, way], check=False, stderr=subprocess.DEVNULL)
    meant = {"SIGINT": "interrupted", "SIGKILL": "killed"}
    eventually(lambda: {run["name"]: run["status"] for run in told("runs", tmp_path)} == meant, 30, "both have ended")
    assert all(status in asynclog_command("show", tmp_path / "p" / name).stdout for name, status in meant.items())
    points = {name: tmp_path / "p" / name / "jsonl" / "points.jsonl" for name in meant}
    ends = {name: json.dumps({"end": status}, separators=(",", ":")) for name, status in meant.items()}
    eventually(lambda: all(ends[name] in points[name].read_text().splitlines() for name in meant), 30, "both ends")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_has_every_point_whatever_the_backends_were_shown(tmp_path: Path, form: str, finished) -> None:
    run_dir = finished(tmp_path, backends={"csv": {"rate_limit": {"*": 0.001}}})
    out = tmp_path / "made" / "here"
    done = asynclog_command("export", run_dir, "--format", form, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "110 points" in done.stdout
    if form == "jsonl":
        points = jsonl_points(out / "points.jsonl")
    else:
        with (out / "metrics.csv").open(newline="") as file:
            points = [
                (name, int(row["step"]), float(cell))
                for row in csv.DictReader(file)
                for name, cell in row.items()
                if name != "step" and cell
            ]
    assert len(points) == 110
    assert set(points) == logged_points(100)
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [".asynclog-export.json"]
    assert [path.name for path in out.parent.iterdir()] == ["here"]


def test_an_export_of_some_names_from_a_step_on(tmp_path: Path, finished, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = finished(tmp_path)
    options = ["--format", "jsonl", "--names", "val/*", "--since", "30"]
    monkeypatch.chdir(tmp_path)
    done = asynclog_command("export", run_dir, *options)
    assert done.returncode == 0, done.stderr
    assert "7 points, 103 values left out" in done.stdout
    points = set(jsonl_points(tmp_path / "run-jsonl" / "points.jsonl"))
    assert points == {point for point in logged_points(100, since=30) if point[0] == "val/acc"}


def test_an_export_replaces_an_earlier_one_by_force_and_nothing_else(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    out = tmp_path / "out"
    command = ["export", run_dir, "--format", "csv", "--out", out]
    assert asynclog_command(*command).returncode == 0
    refused = asynclog_command(*command)
    assert refused.returncode == 2
    assert "--force replaces it" in refused.stderr
    assert asynclog_command(*command, "--names", "loss", "--force").returncode == 0
    assert {path.name for path in out.glob("[!.]*")} == {"metrics.csv", "hparams.yaml", "summary.yaml"}
    (out / ".asynclog-export.json").unlink()
    (out / "mine").write_text("mine")
    refused = asynclog_command(*command, "--force")
    assert (refused.returncode, (out / "mine").read_text()) == (2, "mine")
    assert "no earlier export" in refused.stderr


@pytest.mark.parametrize("where", [".", "inside", "p/run", "p", "p/run/media", "p/run/csv", "link"])
def test_an_export_never_takes_the_place_of_a_run_or_of_who_asks(
    tmp_path: Path, where: str, finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = finished(tmp_path)
    (tmp_path / "inside" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(run_dir)
    monkeypatch.chdir(tmp_path / "inside" / "deeper" if where == "inside" else tmp_path)
    before = sorted(tmp_path.rglob("*"))
    out = "." if where == "." else tmp_path / where
    done = asynclog_command("export", run_dir, "--format", "csv", "--out", out, "--force")
    assert done.returncode == 2
    assert "--out names another directory" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_within_the_run_is_replaced_as_any_other(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    command = ["export", run_dir, "--format", "csv", "--out", run_dir / "tables", "--force"]
    assert [asynclog_command(*command).returncode for _ in range(2)] == [0, 0]
    assert told("show", run_dir)["series"]["loss"]["points"] == 100
