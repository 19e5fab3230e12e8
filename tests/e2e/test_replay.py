"""`asynclog replay`: a run that is over or goes on, sent to a backend that it never had."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import asynclog
from asynclogd.journal import Journal, JournalBusyError
from tests.e2e.oracle import csv_series, tensorboard_series
from tests.e2e.stored import asynclog_command, jsonl_points, logged_points, told
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.timeout(120)

STUBBORN = Path(__file__).with_name("stubborn.py")
TO_STUBBORN = ("--to", "mine", "--option", f"class={STUBBORN}:StubbornBackend")
WIDE = 200
"""Names a step: a thousand steps of them are more than one batch."""


def replay(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "asynclogd", "replay", *map(str, arguments)]


def lines(run_dir: Path) -> list[tuple[str, int, float]]:
    found = (run_dir / "mine" / "lines").read_text().splitlines()
    return [(name, int(step), float(value)) for name, step, value in map(str.split, found)]


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,200 steps of many names, in a journal that nobody has open."""
    root = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ASYNCLOG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        for steps in (range(1000), range(1000, 1200)):  # journaled apart: no table has some of both
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it exists
                run = asynclog.init("p", "wide", dir=str(root), backends={}, mode="offline")
            for step in steps:
                run.log({f"n{number}": step + number / 1000 for number in range(WIDE)}, step=step)
            run.finish()
            assert asynclog_command("sync", root).returncode == 0
    return root / "p" / "wide"


@pytest.fixture
def wide(wide_run: Path, tmp_path: Path) -> Path:
    """A copy of it, with a place for what the stubborn backend looks for."""
    shutil.copytree(wide_run, tmp_path / "p" / "wide")
    (tmp_path / "p" / "wide" / "mine").mkdir()
    return tmp_path / "p" / "wide"


def expect_all(run_dir: Path) -> None:
    wanted = [(f"n{number}", step, step + number / 1000) for step in range(1200) for number in range(WIDE)]
    assert lines(run_dir) == wanted


def test_a_run_that_is_over_is_sent_whole_and_only_once(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    first = asynclog_command("replay", run_dir, "--to", "jsonl")
    assert first.returncode == 0, first.stderr
    assert "jsonl has of p/run: 110 values as 110 points" in first.stdout
    assert f"  less {run_dir}/jsonl/points.jsonl\n" in first.stdout
    before = (run_dir / "jsonl" / "points.jsonl").read_bytes()
    points = jsonl_points(run_dir / "jsonl" / "points.jsonl")
    assert len(points) == 110
    assert set(points) == logged_points(100)
    again = asynclog_command("replay", run_dir, "--to", "jsonl")
    assert (again.returncode, again.stdout) == (0, "jsonl has all of p/run already: 110 points\n")
    assert (run_dir / "jsonl" / "points.jsonl").read_bytes() == before
    shown = told("show", run_dir)
    assert shown["backends"] == {"csv": {"behind_items": 0}, "jsonl": {"behind_items": 0}}
    assert shown["ledger"]["backends"]["jsonl"] == {**shown["ledger"]["backends"]["csv"], "delivered": 110}


def test_params_summary_and_the_end_are_sent_too(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    assert asynclog_command("replay", run_dir, "--to", "jsonl", "--names", "nothing").returncode == 0
    text = (run_dir / "jsonl" / "points.jsonl").read_text().splitlines()
    assert text == ['{"params":{"lr":0.5}}', '{"summary":{"best":0.25}}', '{"end":"success"}']


def test_names_and_since_choose_and_are_remembered(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    chosen = ["replay", run_dir, "--to", "jsonl", "--names", "val/*", "--since", 50]
    done = asynclog_command(*chosen)
    assert "5 values as 5 points, 105 limited" in done.stdout
    points = set(jsonl_points(run_dir / "jsonl" / "points.jsonl"))
    assert points == {point for point in logged_points(100, since=50) if point[0] == "val/acc"}
    assert "has all of p/run already" in asynclog_command(*chosen).stdout
    for others in ([], ["--names", "loss"], ["--names", "val/*"]):
        refused = asynclog_command("replay", run_dir, "--to", "jsonl", *others)
        assert refused.returncode == 2
        assert "jsonl has been given --names 'val/*' --since 50 of this run, not" in refused.stderr


def test_everything_is_sent_again_to_a_backend_that_had_it(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    for chosen in ([], ["--again"], ["--again", "--names", "val/*"]):
        done = asynclog_command("replay", run_dir, "--to", "jsonl", *chosen)
        assert done.returncode == 0, done.stdout
    points = jsonl_points(run_dir / "jsonl" / "points.jsonl")
    assert sorted(points) == sorted(point for point in logged_points(100) if point[0] == "val/acc")
    ledger = told("show", run_dir)["ledger"]["backends"]["jsonl"]
    assert (ledger["delivered"], ledger["limited"]) == (10, 100)
    wrong = asynclog_command("replay", run_dir, "--to", "jsonl", "--again", "--option", "fsyn=1")
    assert (wrong.returncode, told("show", run_dir)["ledger"]["backends"]["jsonl"]) == (2, ledger)


def test_nothing_is_sent_again_while_a_daemon_has_the_run(tmp_path: Path, puppets) -> None:
    (rank,) = puppets(1)
    assert rank("flush")
    done = asynclog_command("replay", tmp_path / "p" / "run", "--to", "csv", "--again")
    assert done.returncode == 2
    assert "--again needs it to itself" in done.stderr
    rank("finish")


def test_a_backend_goes_on_when_the_run_is_resumed(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    assert asynclog_command("replay", run_dir, "--to", "jsonl", "--names", "loss").returncode == 0
    with asynclog.init("p", resume="run", dir=str(tmp_path)) as run:
        run.log({"loss": 0.5, "other": 1.0}, step=90)
        assert run.finish().complete
    wanted = {point for point in logged_points(90) if point[0] == "loss"} | {("loss", 90, 0.5)}
    assert set(jsonl_points(run_dir / "jsonl" / "points.jsonl")) == wanted


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(wide: Path, start, output, eventually) -> None:
    (wide / "mine" / "down").touch()
    process = start(*replay(wide, *TO_STUBBORN))
    # It is down for the second half: after the first failure less is put at risk, and the first half is delivered.
    eventually(lambda: "works again after" in output(), 60, "something is delivered")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert "stopped" in output()
    assert "the same command goes on" in output()
    with Journal.open(wide / "journal.sqlite") as journal:
        cursor = journal.cursor("mine")
        assert cursor is not None
        assert 0 < cursor.offset < journal.last_offset
        assert cursor.points == len(lines(wide))
    (wide / "mine" / "down").unlink()
    done = asynclog_command("replay", wide, "--to", "mine")  # its class is remembered
    assert done.returncode == 0, done.stderr
    expect_all(wide)


def test_a_kill_at_any_moment_leaves_each_point_once(wide: Path, start, eventually) -> None:
    process = start(*replay(wide, *TO_STUBBORN))
    eventually(lambda: (wide / "mine" / "lines").exists() or process.poll() is not None, 60, "it has begun")
    process.kill()
    process.wait()
    assert asynclog_command("replay", wide, *TO_STUBBORN).returncode == 0
    expect_all(wide)


def test_a_backend_that_refuses_is_one_error_and_no_backend_of_the_run(wide: Path) -> None:
    (wide / "mine" / "broken").touch()
    done = asynclog_command("replay", wide, *TO_STUBBORN)
    assert done.returncode == 1
    assert "wrong credentials" in done.stdout
    assert told("show", wide)["backends"] == {}


def test_one_that_stays_down_is_given_up_after_a_while(wide: Path) -> None:
    (wide / "mine" / "down").touch()
    done = asynclog_command("replay", wide, *TO_STUBBORN, "--patience", "0.5")
    assert done.returncode == 1
    assert "no progress for 0.5 s: ConnectionError: the service is down" in done.stdout


def test_a_terminal_shows_how_far_it_is_and_what_keeps_it_and_is_left_clean(wide: Path, eventually) -> None:
    with Journal.open(wide / "journal.sqlite") as journal:
        total = journal.last_offset
    (wide / "mine" / "down").touch()
    with Terminal(replay(wide, *TO_STUBBORN)) as terminal:
        bar = rf"mine ━+.* [1-9]\d*/{total} \d:\d\d:\d\d \S+ ConnectionError: the service is down"
        eventually(lambda: re.search(bar, terminal.drawn), 60, "a bar")
        (wide / "mine" / "down").unlink()
        assert terminal.wait(60) == 0, terminal.drawn
    done = [int(number) for number in re.findall(rf"(\d+)/{total} ", terminal.drawn)]
    assert done == sorted(done)
    assert done[0] < done[-1]
    assert "mine has of p/wide: 240,000 values as 240,000 points" in terminal.drawn
    assert asynclog_command("replay", wide, "--to", "mine").stdout == "mine has all of p/wide already: 240,000 points\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "wandbb"], "backend 'wandbb': there is none of that name"),
        (["--to", "jsonl", "--option", "fsyn=1"], "unknown option 'fsyn'; did you mean 'fsync'?"),
        (["--to", "jsonl", "--option", "fsync"], "--option 'fsync': it is KEY=VALUE"),
        (["--to", "jsonl", "--option", "rate_limit={"], "--option rate_limit: '{' is not JSON"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    tmp_path: Path, finished, arguments: list[str], reason: str
) -> None:
    run_dir = finished(tmp_path)
    done = asynclog_command("replay", run_dir, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert told("show", run_dir)["backends"] == {"csv": {"behind_items": 0}}
    assert not (run_dir / "jsonl").exists()


def test_options_may_be_json(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    options = ["--option", 'rate_limit={"loss": 0}', "--option", "fsync=true"]
    assert asynclog_command("replay", run_dir, "--to", "jsonl", *options).returncode == 0
    points = {point for point in logged_points(100) if point[0] == "val/acc"}
    assert set(jsonl_points(run_dir / "jsonl" / "points.jsonl")) == points


@pytest.mark.mlflow
def test_a_trackers_variables_and_directory_are_those_of_the_command(
    tmp_path: Path, puppets, eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that is open, and then of the same when it is over; the daemon has neither."""
    (rank,) = puppets(1)
    rank("log", {"loss": 0.5}, 0)
    assert rank("flush")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "open")
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "p" / "run"
    for _ in range(2):
        done = asynclog_command("replay", run_dir, "--to", "mlflow")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "0 pending" in rank("finish")
    assert not (run_dir / "mlflow" / "mlflow.db").exists()
    eventually(lambda: nobody_has(run_dir), 30, "the daemon to let go of it")
    assert mlflow_runs(tmp_path / "mine.db", "open") == ["run"]
    options = {"tracking_uri": f"sqlite:///{tmp_path}/mine.db", "experiment": "open"}
    assert options_of(run_dir)["mlflow"] == options

    # Known to the run: what is given is still of this directory, and what variables say does not count.
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    again = ["--again", "--option", "tracking_uri=sqlite:///mine.db"]
    done = asynclog_command("replay", run_dir, "--to", "mlflow", *again)
    assert done.returncode == 0, done.stdout + done.stderr
    assert options_of(run_dir)["mlflow"] == options
    # New to it.
    named = ["--option", "class=asynclogd.backends.mlflow:MlflowBackend"]
    address = ["--option", "tracking_uri=env:MLFLOW_TRACKING_URI", "--option", "experiment=over"]
    done = asynclog_command("replay", run_dir, "--to", "second", *named, *address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert options_of(run_dir)["second"] == {**options, "experiment": "over", "class": named[1].partition("=")[2]}
    assert mlflow_runs(tmp_path / "mine.db", "over") == ["run"]


def mlflow_runs(file: Path, experiment: str) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{file}")
    found = client.get_experiment_by_name(experiment)
    return [run.info.run_name for run in client.search_runs([found.experiment_id])]


def nobody_has(run_dir: Path) -> bool:
    try:
        Journal.open(run_dir / "journal.sqlite").close()
    except JournalBusyError:
        return False
    return True


def options_of(run_dir: Path) -> dict[str, dict[str, object]]:
    with Journal.open(run_dir / "journal.sqlite") as journal:
        return dict(journal.facts()["backends"])


def test_a_variable_with_a_password_is_left_out_and_a_directory_that_has_gone_is_told(
    tmp_path: Path, finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = finished(tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "https://me:pw@host/x")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = asynclog_command("replay", run_dir, "--to", "mlflow", "--option", "tracking_uri=sqlite:///mine.db")
    assert done.returncode == 2
    assert "mine.db is relative, and the current directory has gone" in done.stderr
    done = asynclog_command(
        "replay", run_dir, "--to", "mlflow", "--option", "tracking_uri=http://127.0.0.1:9", "--patience", "0"
    )
    assert "MLFLOW_EXPERIMENT_NAME: no option of mlflow" in done.stdout
    assert "pw" not in done.stdout


def test_a_run_that_goes_on_is_left_to_its_daemon(tmp_path: Path, puppets) -> None:
    (rank,) = puppets(1)
    for step in range(50):
        rank("log", {"loss": step / 8}, step)
    assert rank("flush")
    run_dir = tmp_path / "p" / "run"
    done = asynclog_command("replay", run_dir, "--to", "jsonl", "--names", "loss", "--since", 10)
    assert done.returncode == 0, done.stderr
    assert "its daemon delivers to jsonl" in done.stdout
    assert "jsonl has caught up" in done.stdout
    again = asynclog_command("replay", run_dir, "--to", "jsonl", "--names", "loss", "--since", 10)
    assert again.returncode == 0, again.stderr
    other = asynclog_command("replay", run_dir, "--to", "jsonl")
    assert other.returncode == 2
    assert "already, with other options" in other.stderr
    for step in range(50, 60):
        rank("log", {"loss": step / 8, "other": 0.0}, step)
    assert "0 pending" in rank("finish")
    wanted = [("loss", step, step / 8) for step in range(10, 60)]
    assert jsonl_points(run_dir / "jsonl" / "points.jsonl") == wanted
    for series in (csv_series, tensorboard_series):
        assert series(run_dir, "loss") == {step: [step / 8] for step in range(60)}


def test_a_run_that_is_resumed_meanwhile_is_given_to_its_daemon_which_delivers_the_rest(
    wide: Path, tmp_path: Path, start, output, eventually
) -> None:
    (wide / "mine" / "down").touch()
    process = start(*replay(wide, *TO_STUBBORN))
    eventually(lambda: "the service is down" in output(), 60, "it has begun")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with asynclog.init("p", resume="wide", dir=str(tmp_path)) as run:  # the replay would be at it for minutes
            (wide / "mine" / "down").unlink()
            run.log({"n0": 1200.0})
            run.flush()
            assert process.wait(60) == 0, output()
    assert "its daemon delivers to mine from here on" in output()
    eventually(lambda: ("n0", 1200, 1200.0) in lines(wide), 60, "what was logged since")
    assert len([name for name, _, _ in lines(wide) if name.startswith("n")]) == 1200 * WIDE + 1  # not the host's


def test_one_that_another_process_has_open_is_told(tmp_path: Path, finished) -> None:
    run_dir = finished(tmp_path)
    holder = "import sys; from pathlib import Path; from asynclogd.journal import Journal\n"
    holder += "journal = Journal.open(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder, str(run_dir / "journal.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        done = asynclog_command("replay", run_dir, "--to", "jsonl")
    assert done.returncode == 2
    assert "is open in a process that is no daemon of this runtime directory" in done.stderr
