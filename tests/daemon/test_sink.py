"""A sink over a real file, with failures of every call; the file is the oracle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from asynclog_proto.errors import ProtocolError
from asynclogd.backends.base import Position, RunInfo
from asynclogd.delivery import SinkSettings
from asynclogd.points import Blob, Item, Media, Params, Rewind, RunEnd, Summary
from tests.daemon.filebackend import FileBackend, lines
from tests.daemon.sinkplace import FAST, Place
from tests.daemon.tables import table

Eventually = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_everything_is_delivered_in_order_and_the_backend_is_closed_with_the_runs_status(place: Place) -> None:
    items: list[Item] = [Params({"lr": 0.1}), table(0, k=3), table(3), RunEnd("failed")]
    backend = FileBackend()
    sink = place.sink(backend)
    for item in items:
        place.add(item)
        sink.wake()
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == "".join(map(lines, items))
    assert place.cursor.offset == sink.offset == 4
    assert (place.cursor.delivered, place.cursor.points) == (2 * 8, 8)
    assert (sink.status().state, backend.closed) == ("closed", ["failed"])


def test_a_resumed_run_that_goes_on_is_not_closed_as_ended(place: Place) -> None:
    place.add(RunEnd("success"))
    place.add(table(0))
    backend = FileBackend()
    assert place.sink(backend).stop(drain=True, timeout=30)
    assert backend.closed == [""]


def test_the_runs_status_is_known_when_its_end_was_delivered_by_a_former_process(place: Place) -> None:
    place.add(RunEnd("success"))
    place.sink(FileBackend()).stop(drain=True, timeout=30)
    backend = FileBackend()
    assert place.sink(backend).stop(drain=True, timeout=30)
    assert backend.closed == ["success"]


def test_an_idle_sink_wakes_for_one_item(place: Place, eventually: Eventually) -> None:
    sink = place.sink(FileBackend())
    for step in range(20):
        place.add(table(step))
        sink.wake()
        eventually(lambda: sink.offset == place.log.last_offset, what="delivery")
    assert sink.stop(drain=False, timeout=30)


def test_someone_who_waits_is_not_kept_for_the_flush_interval(place: Place, eventually: Eventually) -> None:
    sink = place.sink(FileBackend(), times=SinkSettings(flush_interval=3600))
    place.add(table(0))
    sink.wake()
    eventually(lambda: sink.offset == 1, what="the first delivery")
    place.add(table(1))
    sink.wake()
    sink.flush_soon()
    eventually(lambda: sink.offset == 2, what="the hurried delivery")
    assert sink.stop(drain=False, timeout=30)


def test_points_beyond_the_quota_wait_and_none_is_left_out(place: Place, eventually: Eventually) -> None:
    for step in range(20):
        place.add(table(step))
    sink = place.sink(FileBackend(), times=replace(FAST, points_per_second=1e-3))
    eventually(lambda: sink.offset > 0, what="the first delivery")
    sink.flush_soon()
    assert sink.stop(drain=False, timeout=30)
    assert (sink.offset, sink.status().state) == (1, "closed")
    sink = place.sink(FileBackend(), times=replace(FAST, points_per_second=1e3))
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == "".join(lines(table(step)) for step in range(20))


def test_kinds_that_the_backend_does_not_show_are_counted_and_passed_over(place: Place) -> None:
    class OnlyParams(FileBackend):
        kinds = frozenset({"params"})

    for item in (table(0), Summary({"best": 1.0}), Params({"lr": 0.1})):
        place.add(item)
    sink = place.sink(OnlyParams())
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == lines(Params({"lr": 0.1}))
    assert sink.status().unsupported == 2
    assert (place.cursor.offset, place.cursor.limited, place.cursor.delivered) == (3, 4, 0)


NOTE = Media("note", 1, 1.0, "text", "text/markdown", {}, Blob("00" * 16, 1, 36, 5))


def test_a_media_item_is_one_value_delivered_or_left_out(place: Place) -> None:
    class Showing(FileBackend):
        kinds = frozenset({"points", "media"})

    for item in (table(0), NOTE, NOTE):
        place.add(item)
    sink = place.sink(Showing())
    assert sink.stop(drain=True, timeout=30)
    assert (place.cursor.delivered, place.cursor.limited, place.cursor.points) == (4 + 2, 0, 2)
    place.add(NOTE)
    sink = place.sink(FileBackend())
    assert sink.stop(drain=True, timeout=30)
    assert (place.cursor.delivered, place.cursor.limited, sink.status().unsupported) == (6, 1, 1)


def test_a_media_item_whose_blob_is_spoiled_is_a_dead_letter_and_the_rest_goes_on(place: Place) -> None:
    class Reading(FileBackend):
        kinds = frozenset({"points", "media"})

        def write(self, batch: Sequence[Item]) -> None:
            if any(isinstance(item, Media) for item in batch):
                raise ProtocolError("blob 00 is spoiled")
            super().write(batch)

    items: list[Item] = [table(0), NOTE, table(1)]
    for item in items:
        place.add(item)
    assert place.sink(Reading()).stop(drain=True, timeout=30)
    assert place.text() == lines(table(0)) + lines(table(1))
    assert [(letter.offset, letter.reason) for letter in place.letters] == [(2, "blob 00 is spoiled")]
    assert (place.cursor.delivered, place.cursor.dead) == (8, 1)


def test_what_is_held_goes_out_before_a_rewind_and_before_the_end(place: Place) -> None:
    items: list[Item] = [table(0), Rewind(0, 1), table(1), RunEnd("success")]
    for item in items:
        place.add(item)
    sink = place.sink(FileBackend(), rules={"*": 0.001})
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == "".join(map(lines, items))


def test_held_points_survive_a_restart_and_the_count_says_that_they_are_held(place: Place) -> None:
    place.add(table(0))
    first = place.sink(FileBackend(), rules={"a": 0.001})
    assert first.stop(drain=True, timeout=30)
    assert place.text() == "b 0 0.1 2\n"
    assert (place.cursor.delivered, place.cursor.limited, first.status().held) == (2, 0, 2)
    place.add(RunEnd("success"))
    second = place.sink(FileBackend(), rules={"a": 0.001})
    assert second.stop(drain=True, timeout=30)
    assert place.text() == f"b 0 0.1 2\na 0 0.0 2\n{RunEnd('success')!r}\n"
    assert (place.cursor.delivered, second.status().held) == (4, 0)


def test_what_goes_wrong_without_a_call_is_in_the_status_and_logged_once(
    place: Place, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    class Uploading(FileBackend):
        told = ""
        asked = 0

        def trouble(self) -> str:
            self.asked += 1
            if self.told == "worse":
                raise OSError("worse")
            return self.told

    def ask() -> None:
        before = backend.asked
        sink.tell_of_trouble()
        eventually(lambda: backend.asked > before, what="the question")

    backend = Uploading()
    sink = place.sink(backend)
    for told, shown in (("", ""), ("HTTP 500", "HTTP 500"), ("worse", "OSError: worse")):
        backend.told = told
        ask()
        ask()  # so the first answer is there
        assert sink.status().trouble == shown
    assert sink.stop(drain=True, timeout=30)
    eventually(lambda: not any(thread.name == "inquiry-file" for thread in threading.enumerate()), what="its end")
    assert [text for text in caplog.messages if text.startswith("file: ")] == ["file: HTTP 500", "file: OSError: worse"]


def test_a_backend_that_can_tell_of_no_trouble_has_no_thread_for_it(place: Place) -> None:
    sink = place.sink(FileBackend())
    sink.tell_of_trouble()
    assert not any(thread.name == "inquiry-file" for thread in threading.enumerate())
    assert sink.stop(drain=True, timeout=30)


def test_where_to_look_is_what_it_said_last_and_nobody_else_waits_for_it(place: Place, eventually: Eventually) -> None:
    class Slow(FileBackend):
        go_on = threading.Event()
        opened = False

        def open(self, run: RunInfo, position: Position | None) -> None:
            super().open(run, position)
            self.opened = True

        def look(self, _: RunInfo) -> str:
            if self.opened:
                self.go_on.wait()
                return "there"
            raise OSError("not yet")

    backend = Slow()
    sink = place.sink(backend)
    eventually(lambda: sink.status().call == "look", what="the question")
    assert sink.look == str(place.run.own_dir)
    backend.go_on.set()
    eventually(lambda: sink.look == "there", what="the answer")
    assert sink.stop(drain=True, timeout=30)


SOON = replace(FAST, quiet=0.0)
"""Where nothing has to be quiet before what is held goes out."""


def test_who_flushes_has_what_is_held_though_nothing_more_comes(place: Place, eventually: Eventually) -> None:
    sink = place.sink(FileBackend(), rules={"*": 0.001})
    for step in range(3):
        place.add(table(step))
        sink.wake()
        eventually(lambda: sink.offset == place.log.last_offset, what="delivery")
        sink.flush_soon()
        eventually(lambda: sink.whole_offset >= place.log.last_offset, what="what was held")
        assert place.text() == "".join(lines(table(each)) for each in range(step + 1))
    assert sink.stop(drain=False, timeout=30)
    assert (place.cursor.delivered, place.cursor.limited) == (3 * 4, 0)


def test_an_idle_run_has_its_last_points_once_their_bucket_is_over(place: Place, eventually: Eventually) -> None:
    place.add(table(0, k=9, names=["a"]))
    sink = place.sink(FileBackend(), rules={"*": 0.001}, times=SOON)
    eventually(lambda: place.cursor.delivered == 2 * 2, what="the first, which is the lowest, and the last")
    assert place.text() == lines(table(0, names=["a"])) + lines(table(8, names=["a"]))
    assert sink.stop(drain=False, timeout=30)
    assert (place.cursor.limited, sink.status().held) == (7 * 2, 0)


def test_what_is_held_and_cannot_go_out_is_tried_again_less_and_less_often(
    place: Place, eventually: Eventually
) -> None:
    works = threading.Event()
    place.add(table(0, names=["a"]))
    down = FileBackend(lambda call: "" if works.is_set() or call != "write" else "error")
    sink = place.sink(down, rules={"*": 0.001}, times=SOON)
    eventually(lambda: sink.status().retries > 3, what="retries that are counted on")
    works.set()
    eventually(lambda: sink.status().retries == 0, what="the end of it")
    assert sink.stop(drain=False, timeout=30)
    assert place.text() == lines(table(0, names=["a"]))


def test_a_bucket_that_is_not_over_stays_open(place: Place) -> None:
    now = table(0)
    place.add(replace(now, times=now.times + time.time()))
    sink = place.sink(FileBackend(), rules={"*": 1e-9}, times=SOON)
    assert sink.stop(drain=True, timeout=30)
    assert (place.text(), place.cursor.delivered, sink.status().held) == ("", 0, 2 * 2)


def test_what_was_logged_before_the_clock_was_set_back_goes_out_after_the_length_of_a_bucket(
    place: Place, eventually: Eventually
) -> None:
    now = table(0)
    place.add(replace(now, times=now.times + time.time() + 86_400))
    sink = place.sink(FileBackend(), rules={"*": 3.0}, times=SOON)
    eventually(lambda: place.cursor.delivered == 2 * 2, what="what was held")
    assert sink.stop(drain=False, timeout=30)
    assert sink.status().held == 0


def test_held_points_that_are_refused_are_dead_letters_and_the_rest_goes_on(
    place: Place, eventually: Eventually
) -> None:
    place.add(table(0))
    sink = place.sink(FileBackend(refused=frozenset({0})), rules={"*": 0.001}, times=SOON)
    eventually(lambda: place.cursor.dead, what="the dead letter")
    place.add(table(1))
    sink.wake()
    eventually(lambda: place.cursor.delivered, what="the rest")
    assert sink.stop(drain=False, timeout=30)
    assert place.text() == lines(table(1))
    assert [(letter.offset, letter.reason) for letter in place.letters] == [(1, "a step that is refused")]
    assert (place.cursor.delivered, place.cursor.dead) == (4, 4)
