from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd.backends.base import Backend
from asynclogd.delivery import SinkSettings
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.fanout import Fanout, choose
from asynclogd.points import Item, Params
from tests.daemon.filebackend import FileBackend, HangingBackend, RemoteBackend, lines
from tests.daemon.tables import table

Eventually = Callable[..., None]


class Made:
    """A fan-out of file backends, the items it was given, and the cursors it told."""

    def __init__(self, run_dir: Path) -> None:
        self.backends: dict[str, Backend] = {"file": FileBackend(), "other": FileBackend(), "remote": RemoteBackend()}
        self.items: list[Item] = []
        self.cursors: dict[str, Cursor] = {}
        self.fanout = Fanout(run_dir, self.older, 0, self.moved, 0.001, build=self.build)

    def build(self, name: str, _: Mapping[str, Any]) -> Backend:
        return self.backends[name]

    def older(self, after: int, _: int) -> list[tuple[int, Item]]:
        return list(enumerate(self.items, 1))[after : after + 2]

    def moved(self, name: str, cursor: Cursor, _: list[DeadLetter], surely: bool) -> None:
        del surely
        self.cursors[name] = cursor

    def log(self, *items: Item) -> None:
        first = len(self.items) + 1
        self.items += items
        self.fanout.append(list(enumerate(items, first)))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    made = Made(tmp_path / "project" / "run")
    yield made
    for backend in made.backends.values():
        if isinstance(backend, HangingBackend):
            backend.release.set()
    made.fanout.stop(30, drain=False)


def test_each_backend_gets_everything_in_a_directory_of_its_own(
    made: Made, tmp_path: Path, eventually: Eventually
) -> None:
    for name in ("file", "other"):
        made.fanout.add(name, {}, world=2, cursor=Cursor())
    made.log(table(0), Params({"lr": 0.1}), table(1))
    made.fanout.flush_soon()
    eventually(lambda: made.fanout.local_offset() == made.fanout.offset() == 3, what="delivery")
    assert made.fanout.stop(30) == []
    for name in ("file", "other"):
        text = (tmp_path / "project" / "run" / name / "lines").read_text()
        assert text == "".join(map(lines, made.items))
        assert made.cursors[name].offset == 3


def test_a_backend_that_is_added_late_goes_on_from_its_cursor(made: Made, tmp_path: Path) -> None:
    made.log(table(0), table(1), table(2))
    made.fanout.add("file", {}, world=1, cursor=Cursor(offset=1, position={"bytes": 0}, delivered=4, points=2))
    assert made.fanout.stop(30) == []
    assert (tmp_path / "project" / "run" / "file" / "lines").read_text() == lines(table(1)) + lines(table(2))
    assert made.cursors["file"].delivered == 12


def test_a_backend_is_added_once(made: Made) -> None:
    made.fanout.add("file", {}, world=1, cursor=Cursor())
    sink = made.fanout.sinks["file"]
    made.fanout.add("file", {}, world=1, cursor=Cursor())
    assert made.fanout.sinks == {"file": sink}


def test_one_that_hangs_delays_no_other_and_holds_up_the_stop_only_to_its_deadline(
    made: Made, eventually: Eventually
) -> None:
    made.backends["other"] = HangingBackend()
    for name in ("file", "other"):
        made.fanout.add(name, {"delivery": {"timeout": 0.01}}, world=1, cursor=Cursor())
    for step in range(50):
        made.log(table(step))
    eventually(lambda: made.fanout.sinks["file"].offset == 50, what="delivery beside the one that hangs")
    assert made.fanout.local_offset() == 0
    eventually(lambda: made.fanout.statuses()["other"].state == "hanging", what="the status")
    assert made.fanout.statuses()["other"].timeouts == 1
    assert made.fanout.stop(0.1) == ["other"]
    assert made.fanout.statuses()["file"].state == "closed"


def test_what_a_sink_has_just_told_counts_before_its_status_says_so(made: Made) -> None:
    made.backends["other"] = HangingBackend()
    made.fanout.add("other", {}, world=1, cursor=Cursor())
    made.log(table(0), table(1))
    assert made.fanout.local_offset() == 0
    made.fanout.moved("other", Cursor(offset=2, delivered=4))
    assert made.fanout.local_offset() == 2
    assert made.fanout.cursors() == {"other": Cursor(offset=2, delivered=4)}


def test_local_offset_does_not_wait_for_remote_backends(made: Made, eventually: Eventually) -> None:
    made.backends["remote"] = RemoteBackend(lambda _: "error")
    made.fanout.add("file", {}, world=1, cursor=Cursor())
    made.fanout.add("remote", {}, world=1, cursor=Cursor())
    made.log(table(0))
    eventually(lambda: made.fanout.local_offset() == 1, what="delivery")
    assert made.fanout.offset() == 0


def test_without_backends_nothing_is_waited_for(made: Made) -> None:
    made.log(table(0))
    assert made.fanout.local_offset() == made.fanout.offset() == sys.maxsize


def test_rate_limit_is_an_option_of_every_backend(made: Made, tmp_path: Path) -> None:
    made.fanout.add("file", {"rate_limit": {"a": 0.001}}, world=1, cursor=Cursor())
    made.log(*(table(step) for step in range(10)))
    assert made.fanout.stop(30) == []
    assert "a" not in (tmp_path / "project" / "run" / "file" / "lines").read_text()
    assert made.cursors["file"].limited == 2 * 8


def test_a_services_own_limits_are_the_default_and_count_after_the_users(made: Made, tmp_path: Path) -> None:
    class Limited(FileBackend):
        default_rate_limit: ClassVar[Mapping[str, float]] = {"a": 0.001, "b": 0.001, "*": 0.0}

    made.backends["file"] = Limited()
    made.fanout.add("file", {"rate_limit": {"a": 1e6}}, world=1, cursor=Cursor())
    made.log(table(0, names=("a", "b", "c")))
    assert made.fanout.stop(30) == []
    assert (tmp_path / "project" / "run" / "file" / "lines").read_text() == ""
    assert made.cursors["file"].limited == 2
    held = choose("file", {"rate_limit": {"a": 1e6}}, lambda *_: Limited()).limiter
    assert [out.names for out in [*held.shape(table(0, names=("a", "b"))), *held.shape(table(1, names=("a",)))]]


def test_whether_the_hosts_metrics_are_shown_is_an_option_of_every_backend(made: Made, tmp_path: Path) -> None:
    made.fanout.add("file", {"system_metrics": False}, world=1, cursor=Cursor())
    made.fanout.add("other", {}, world=1, cursor=Cursor())
    made.log(table(0, names=("system/own",)), replace(table(1, names=("system/cpu",)), host=True))
    assert made.fanout.stop(30) == []
    found = {name: (tmp_path / "project" / "run" / name / "lines").read_text() for name in ("file", "other")}
    assert all("system/own" in lines for lines in found.values())
    assert ["system/cpu" in lines for lines in found.values()] == [False, True]
    assert [made.cursors[name].limited for name in found] == [2, 0]


@pytest.mark.parametrize(("given", "shown"), [(True, True), ("true", True), ("false", False), ("0", False)])
def test_it_may_be_a_text_as_environment_variables_are(given: object, shown: bool) -> None:
    limiter = choose("file", {"system_metrics": given}, lambda *_: FileBackend()).limiter
    assert bool(limiter.shape(replace(table(1), host=True))) == shown


def test_what_is_neither_is_named() -> None:
    with pytest.raises(ConfigError, match=r"backend 'file': option 'system_metrics': .*allowed: true or false"):
        choose("file", {"system_metrics": "some"}, lambda *_: FileBackend())


def test_how_it_is_delivered_to_is_an_option_of_every_backend() -> None:
    given = {"flush_interval": "10", "batch_kb": 2, "longest_retry": 0.1, "timeout": "60"}
    delivery = choose("file", {"delivery": given}, lambda *_: FileBackend()).delivery
    assert delivery.settings(1.0) == SinkSettings(10.0, 2048, 0.2, 0.2, timeout=60.0)
    assert choose("file", {}, lambda *_: FileBackend()).delivery.settings(1.0) == SinkSettings(1.0)
    assert delivery.settings(1.0, 200.0).points_per_second == 200.0
    delivery = choose("file", {"delivery": {"points_per_second": "inf"}}, lambda *_: FileBackend()).delivery
    assert delivery.settings(1.0, 200.0).points_per_second == math.inf


@pytest.mark.parametrize("given", [3, {"batch_kb": 0}, {"interval": 1}, {"first_retry": 0}, {"longest_retry": "x"}])
def test_a_wrong_way_to_deliver_is_named(given: object) -> None:
    with pytest.raises(ConfigError, match=r"backend 'file': option 'delivery': .*allowed: flush_interval"):
        choose("file", {"delivery": given}, lambda *_: FileBackend())


def test_a_backend_is_written_to_in_batches_of_the_size_that_is_asked_for(made: Made, tmp_path: Path) -> None:
    calls: list[str] = []

    def watched(call: str) -> str:
        calls.append(call)
        return ""

    made.log(*(table(step, k=100) for step in range(20)))
    made.backends["file"] = FileBackend(watched)
    made.fanout.add("file", {"delivery": {"batch_kb": 1}}, world=1, cursor=Cursor())
    assert made.fanout.stop(30) == []
    assert calls.count("write") == 20


def test_subdir_is_an_option_of_every_backend(made: Made, tmp_path: Path) -> None:
    made.fanout.add("file", {"subdir": "."}, world=1, cursor=Cursor())
    made.fanout.add("other", {"subdir": "a/b"}, world=1, cursor=Cursor())
    made.log(table(0))
    assert made.fanout.stop(30) == []
    assert {path.name for path in (tmp_path / "project" / "run").rglob("lines")} == {"lines"}
    assert (tmp_path / "project" / "run" / "lines").exists()
    assert (tmp_path / "project" / "run" / "a" / "b" / "lines").exists()


@pytest.mark.parametrize("subdir", ["..", "a/../../b", "/tmp", "", 3, "a\nb"])
def test_a_subdir_outside_of_the_run_is_refused(subdir: object) -> None:
    with pytest.raises(ConfigError, match=r"backend 'file': option 'subdir': .* is outside of the run"):
        choose("file", {"subdir": subdir}, lambda *_: FileBackend())


@pytest.mark.parametrize("limits", [{"a": -1}, {"a": "fast"}, -3, "x", {"a": None}, {"a": {"burst": 1}}])
def test_a_wrong_rate_limit_is_named(limits: object) -> None:
    with pytest.raises(ConfigError, match="backend 'file': option 'rate_limit': "):
        choose("file", {"rate_limit": limits}, lambda *_: FileBackend())
