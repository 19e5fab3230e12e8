from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd import registry
from asynclogd.backends.base import BackendConfig
from asynclogd.backends.csv import CsvBackend, CsvConfig


class Options(BackendConfig, frozen=True):
    url: str
    rows: int = 10
    api_token: int = 0


def test_finds_ours_by_entry_point():
    assert {"csv", "jsonl", "mlflow", "tensorboard"} <= set(registry.names())
    assert registry.find("csv") is CsvBackend


def test_a_package_that_is_installed_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    installed = registry.Registry()
    assert "late" not in installed.names()
    with pytest.raises(ConfigError, match="'late': there is none of that name"):
        installed.find("late")
    (tmp_path / "late-1.0.dist-info").mkdir()
    (tmp_path / "late-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    points = "[asynclog.backends]\nlate = asynclogd.backends.csv:CsvBackend\n"
    (tmp_path / "late-1.0.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    assert installed.find("late") is CsvBackend
    assert "late" in installed.names()


def test_one_that_is_missing_is_looked_for_again_only_when_something_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Looking reads a file of each installed package, and a rank asks again each few seconds."""
    looks, look = [], importlib.metadata.entry_points

    def counted(**chosen: str) -> object:
        looks.append(chosen)
        return look(**chosen)

    monkeypatch.setattr(importlib.metadata, "entry_points", counted)
    monkeypatch.syspath_prepend(tmp_path)
    installed = registry.Registry()
    for _ in range(3):
        with pytest.raises(ConfigError, match="'missing': there is none of that name"):
            installed.find("missing")
    assert len(looks) == 1
    os.utime(tmp_path, (1, 1))
    for _ in range(3):
        with pytest.raises(ConfigError, match="'missing': there is none of that name"):
            installed.find("missing")
    assert len(looks) == 2


def test_builds_with_options():
    backend = registry.build("csv", {"fsync": "true"})
    assert isinstance(backend, CsvBackend)
    assert backend.config == CsvConfig(fsync=True)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("tensorbord", {}, ["'tensorbord'", "did you mean 'tensorboard'", "jsonl"]),
        ("xyz", {}, ["'xyz'", "Allowed: ", "csv"]),
        ("csv", {"fsnc": True}, ["'csv'", "'fsnc'", "did you mean 'fsync'"]),
        ("csv", {"fsync": [1]}, ["'csv'", "'fsync'", "expected bool", "[1]"]),
        ("mlflow", {"tags": {"a": 1}}, ["'mlflow'", "'tags'", "expected str"]),
    ],
)
def test_an_error_names_backend_key_and_what_is_allowed(name, options, words):
    with pytest.raises(ConfigError) as caught:
        registry.build(name, options)
    for word in words:
        assert word in str(caught.value)


def test_required_and_secret_options():
    with pytest.raises(ConfigError, match="'url' is required"):
        registry.configure("mine", Options, {})
    with pytest.raises(ConfigError) as caught:
        registry.configure("mine", Options, {"url": "u", "api_token": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert registry.configure("mine", Options, {"url": "u", "rows": "5"}) == Options("u", 5)


def test_a_file_with_a_secret_may_be_below_somebodys_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "key").write_text("7\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registry.configure("mine", Options, {"url": "u", "api_token": "file:~/key"}) == Options("u", api_token=7)
    with pytest.raises(ConfigError, match="'api_token': file:~no-such-user/key: there is none, where the daemon runs"):
        registry.configure("mine", Options, {"url": "u", "api_token": "file:~no-such-user/key"})
