"""A user's own backend, handed over: what the client sends and what it refuses. The daemon's part: tests/daemon."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import asynclog
from asynclog.backends import check_backends
from asynclog_proto.errors import ConfigError
from asynclogd.backends.base import Backend
from asynclogd.backends.csv import CsvBackend, CsvConfig

SOURCE = """
from asynclogd.backends.base import Backend, BackendConfig

class Config(BackendConfig, frozen=True):
    ending: str = "."

class Lines(Backend):
    Config = Config
    def open(self, run, position):
        self.file = (run.own_dir / "lines").open("w" if position is None else "a")
    def write(self, batch):
        for points in batch:
            self.file.writelines(f"{p.name} {p.step} {p.value}{self.config.ending}\\n" for p in points)
    def flush(self):
        self.file.flush()
        return {}
    def close(self, status):
        self.file.close()

class Holder:
    class Lines(Lines): ...
"""


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[ModuleType]:
    """A module `their_lines` of the user's, beside their script."""
    path = tmp_path / "their_lines.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("their_lines", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["their_lines"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["their_lines"]


def test_an_instance_says_where_its_class_is_and_its_options(lines: ModuleType):
    where = f"{lines.__file__}:Lines"
    assert check_backends(["csv", lines.Lines()]) == {"csv": {}, "Lines": {"class": where, "ending": "."}}
    named = check_backends({"mine": lines.Lines(lines.Config("!")), "jsonl": None})
    assert named == {"mine": {"class": where, "ending": "!"}, "jsonl": {}}
    assert check_backends(named) == named


def test_a_class_of_a_package_is_said_by_its_module():
    told = check_backends({"mine": CsvBackend(CsvConfig(fsync=True))})
    assert told is not None
    assert told["mine"]["class"] == "asynclogd.backends.csv:CsvBackend"
    assert told["mine"]["fsync"] is True


def test_a_text_says_it_too(lines: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    told = check_backends({"a": {"class": "their_lines.py:Lines"}, "b": {"class": "my_package.lines:Lines", "n": 1}})
    assert told == {"a": {"class": f"{lines.__file__}:Lines"}, "b": {"class": "my_package.lines:Lines", "n": 1}}


class InFunction:
    """Makes a class that has no name to import it by."""

    @staticmethod
    def backend() -> Backend:
        class Local(Backend):
            def open(self, run: Any, position: Any) -> None: ...
            def write(self, batch: Any) -> None: ...
            def flush(self) -> dict[str, Any]:
                return {}

            def close(self, status: str) -> None: ...

        return Local()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"csv": "instance"}, ValueError, "'csv'\\]: a backend of that name is installed; give yours another"),
        ({"a/b": "instance"}, ConfigError, "the name 'a/b' can't name a directory"),
        ({"mine": "local"}, ValueError, "can't import .*Local. Put the class into a module of its own, at the top"),
        ({"mine": "nested"}, ValueError, "can't import their_lines.Holder.Lines"),
        ({"mine": {"class": "nowhere.py:Lines"}}, ValueError, "there is no file nowhere.py"),
        ({"mine": {"class": "Lines"}}, ValueError, "class is 'package.module:Class' or 'file.py:Class', not 'Lines'"),
        ({"mine": {"class": "a/b:Lines"}}, ValueError, "class is"),
        ({"mine": {"class": 3}}, ValueError, "class is .*, not 3"),
    ],
)
def test_what_the_daemon_could_not_load_is_refused_here(
    given: dict[str, Any], error: type[Exception], words: str, lines: ModuleType
):
    made = {"instance": lines.Lines, "nested": lines.Holder.Lines, "local": InFunction.backend}
    wanted = {name: made[value]() if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(error, match=words):
        check_backends(wanted)


def test_a_class_of_the_script_itself_is_refused(lines: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines.Lines, "__module__", "__main__")
    with pytest.raises(ValueError, match=r"can't import __main__\.Lines"):
        check_backends([lines.Lines()])


def test_a_run_delivers_to_it(lines: ModuleType, tmp_path: Path):
    with asynclog.init(
        project="p", name="r", dir=str(tmp_path / "out"), backends={"mine": lines.Lines(lines.Config("!"))}
    ) as run:
        run.log({"loss": 0.5}, step=3)
    assert "loss 3 0.5!" in (run.dir / "mine" / "lines").read_text().splitlines()


def test_one_that_cannot_be_loaded_is_told_and_nothing_is_lost(tmp_path: Path):
    with (
        pytest.warns(asynclog.AsynclogWarning, match="nowhere.lines:Lines can't be loaded: ModuleNotFoundError"),
        asynclog.init(
            project="p", name="r", dir=str(tmp_path), backends={"mine": {"class": "nowhere.lines:Lines"}}
        ) as run,
    ):
        run.log({"loss": 0.5})
    assert list(run.dir.glob("spool/*/*.spool"))
