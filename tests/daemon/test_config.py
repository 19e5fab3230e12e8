"""Settings: merged from file, environment and flags; every error says where, which key, what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd.config import Config, load


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_deliver_to_tensorboard_and_csv() -> None:
    config = load(None, {}, {})
    assert config == Config()
    assert list(config.backends) == ["tensorboard", "csv"]


def test_the_deployed_example_holds_the_defaults() -> None:
    example = Path(__file__).parents[2] / "daemon" / "deploy" / "asynclog.toml"
    assert load(example, {}, {}) == Config()


def test_flags_win_over_environment_wins_over_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", "[daemon]\nidle_timeout = 1\nstep_deadline = 1\njoin_deadline = 1\n")
    environ = {"ASYNCLOG_DAEMON_STEP_DEADLINE": "2", "ASYNCLOG_DAEMON_JOIN_DEADLINE": "2"}
    daemon = load(file, environ, {"daemon": {"join_deadline": 3.0, "idle_timeout": None}}).daemon
    assert (daemon.idle_timeout, daemon.step_deadline, daemon.join_deadline) == (1, 2, 3)


def test_environment_values_are_read_as_their_types() -> None:
    config = load(None, {"ASYNCLOG_HOST_METRICS_ENABLED": "false", "ASYNCLOG_DAEMON_MAX_RUNS": "7"}, {})
    assert config.host_metrics.enabled is False
    assert config.daemon.max_runs == 7


def test_a_file_names_backends_with_their_options(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", '[backends.mlflow]\ntracking_uri = "sqlite:///x.db"\n')
    assert load(file, {}, {}).backends == {"mlflow": {"tracking_uri": "sqlite:///x.db"}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('[daemon]\ndurability = "fsnc"', ["daemon.durability", "'process', 'fsync'"]),
        ("[daemon]\nidle_timeot = 1", ["daemon.idle_timeot", "did you mean idle_timeout?"]),
        ('[daemon]\nidle_timeout = "long"', ["daemon.idle_timeout", "float", ">= 0"]),
        ("[daemon]\nstep_deadline = 0", ["daemon.step_deadline", "> 0"]),
        ("[demon]\nx = 1", ["demon", "did you mean daemon?"]),
        ("[host_metrics]\nenabled = 3", ["host_metrics.enabled", "bool"]),
        ("daemon = 3", ["daemon"]),
        ("[daemon\n", ["line 1"]),
        ("[daemon]\nmedia_seconds = inf", ["daemon.media_seconds", "<= 1e+09"]),
        ("[daemon]\nmedia_memory_mb = 10_000_000_000_000", ["daemon.media_memory_mb", ">= 1 and <= 1e+09"]),
        ("[backends]\ncsv = 3", ["backends", "object"]),
        ("x = 1" + "0" * 5000, ["digits"]),
        ("x = " + "[" * 5000, ["nested too deep"]),
    ],
)
def test_an_error_in_a_file_names_file_key_and_what_is_allowed(tmp_path: Path, text: str, parts: list[str]) -> None:
    file = write(tmp_path / "asynclog.toml", text)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    for part in [str(file), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "flags", "parts"),
    [
        ({"ASYNCLOG_DAEMON_DURABILITY": "no"}, {}, ["environment", "daemon.durability", "'fsync'"]),
        ({"ASYNCLOG_DAEMON_DURABILTY": "fsync"}, {}, ["ASYNCLOG_DAEMON_DURABILTY", "did you mean durability?"]),
        ({}, {"daemon": {"idle_timeout": -1.0}}, ["command line", "daemon.idle_timeout"]),
        ({"ASYNCLOG_DAEMON_DURABILITY": "\udcff"}, {}, ["environment", "not UTF-8", "udcff"]),
    ],
)
def test_an_error_elsewhere_names_its_place(environ: dict[str, str], flags: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ, flags)
    for part in parts:
        assert part in str(caught.value)


def test_a_file_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    file = tmp_path / "asynclog.toml"
    file.write_bytes("[daemon]".encode("utf-16"))
    with pytest.raises(ConfigError, match="utf-8"):
        load(file, {}, {})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.toml", {}, {})


def test_variables_of_the_client_are_not_the_daemons() -> None:
    assert load(None, {"ASYNCLOG_RUNTIME_DIR": "/x", "ASYNCLOG_MODE": "offline"}, {}) == Config()
