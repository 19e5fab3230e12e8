"""Backends that are not installed: a class in a file or a module, named by the option `class`."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from asynclog_proto import frames
from asynclog_proto.errors import ConfigError, ProtocolError
from asynclogd import recovery, registry
from asynclogd.backends.base import Backend
from asynclogd.backends.csv import CsvBackend, CsvConfig
from asynclogd.fanout import choose

SOURCE = """
import dataclasses, typing
from asynclogd.backends.base import Backend, BackendConfig

class Config(BackendConfig, frozen=True):
    rows: int = {rows}

class Mine(Backend):
    Config = Config
    def open(self, run, position): ...
    def write(self, batch): ...
    def flush(self): return {{}}
    def close(self, status): ...

class NoBackend: ...
"""


def rows_of(backend: Backend) -> int:
    rows: int = msgspec.to_builtins(backend.config)["rows"]
    return rows


def written(path: Path, rows: int = 1) -> str:
    path.write_text(SOURCE.format(rows=rows))
    return f"{path}:Mine"


def test_a_file_is_loaded_with_its_options_and_without_its_neighbours(tmp_path: Path):
    chosen = choose("mine", {"class": written(tmp_path / "mine.py"), "rows": "5", "subdir": "here"})
    assert type(chosen.backend).__name__ == "Mine"
    assert rows_of(chosen.backend) == 5
    assert chosen.subdir == "here"
    with pytest.raises(ConfigError, match="'mine': unknown option 'row'; did you mean 'rows'"):
        registry.build("mine", {"class": f"{tmp_path}/mine.py:Mine", "row": 5})


def test_a_changed_file_is_loaded_again_and_an_unchanged_one_is_not(tmp_path: Path):
    where = written(tmp_path / "mine.py", rows=1)
    first = registry.find("mine", where)
    assert registry.find("mine", where) is first
    written(tmp_path / "mine.py", rows=222)
    assert rows_of(registry.build("mine", {"class": where})) == 222
    assert rows_of(first()) == 1


def test_files_of_one_name_do_not_meet(tmp_path: Path):
    for rows in (1, 2):
        folder = tmp_path / str(rows)
        folder.mkdir()
        assert rows_of(registry.build("mine", {"class": written(folder / "mine.py", rows)})) == rows


def test_a_module_is_imported_as_everywhere():
    backend = registry.build("other", {"class": "asynclogd.backends.csv:CsvBackend", "fsync": True})
    assert type(backend) is CsvBackend
    assert backend.config == CsvConfig(fsync=True)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (3, "option 'class': expected str; got 3"),
        ("Mine", "is no class (allowed: package.module:Class"),
        ("mine.py:Mine", "'mine.py' is not an absolute path"),
        ("/nowhere/mine.py:Mine", "can't be loaded: FileNotFoundError"),
        ("nowhere.mine:Mine", "can't be loaded: ModuleNotFoundError"),
        ("os:getpid", "os:getpid is not a subclass of asynclogd.backends.base.Backend"),
        ("{folder}/mine.py:NoBackend", "mine.py:NoBackend is not a subclass"),
        ("{folder}/mine.py:Nothing", "can't be loaded: AttributeError"),
        ("{folder}/broken.py:Mine", "can't be loaded: ZeroDivisionError"),
        ("{folder}/exits.py:Mine", "can't be loaded: SystemExit"),
        ("{folder}/open.py:Mine", "open.py is not this user's, or writable by others"),
    ],
)
def test_what_is_wrong_is_said(where: object, words: str, tmp_path: Path):
    written(tmp_path / "mine.py")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "exits.py").write_text("raise SystemExit(1)")
    written(tmp_path / "open.py")
    (tmp_path / "open.py").chmod(0o666)
    if isinstance(where, str):
        where = where.format(folder=tmp_path)
    with pytest.raises(ConfigError) as caught:
        registry.build("mine", {"class": where})
    assert words in str(caught.value)
    assert "'mine'" in str(caught.value)


def test_an_installed_name_stays_the_installed_one(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'csv': asynclogd\.backends\.csv:CsvBackend has that name"):
        registry.find("csv", written(tmp_path / "mine.py"))


def test_what_another_user_left_cannot_name_code():
    def hello(backends: dict[str, dict[str, object] | None]) -> bytes:
        told = frames.Hello(
            project="p", name="r", dir="/runs", rank=0, world_size=1, incarnation="i", launch="l", first_seq=0, pid=1,
            host="h", ring="", spool="", backends=backends,
        )  # fmt: skip
        return bytes(frames.encode(told)[0])

    named = hello({"csv": None, "mine": {"class": "/home/them/mine.py:Mine"}})
    assert recovery._hello(named, os.getuid()).name == "r"
    assert recovery._hello(hello({"csv": None}), os.getuid() + 1).name == "r"
    with pytest.raises(ProtocolError, match="another user names a backend's class"):
        recovery._hello(named, os.getuid() + 1)
