"""Worker processes encode, and whatever an item does to one, the next item is encoded all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from asynclog_proto import outboxfile
from asynclog_proto.media import Place, Section
from asynclogd.media import workers as module
from asynclogd.media.forms import MARKDOWN, UnfitError
from asynclogd.media.requests import Request
from asynclogd.media.workers import Workers, WorkersError

HOSTILE = (sys.executable, str(Path(__file__).with_name("hostile_worker.py")))


def text(said: str) -> Request:
    body = said.encode()
    return Request("text", (Section("text", "text", (len(body),)),), {"caption": "c"}, body)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(1, 3.0, 1 << 30, HOSTILE)
    yield made
    made.close()
    assert made.pids() == []


def test_an_item_is_encoded_with_its_options(workers: Workers) -> None:
    encoded = workers.encode(text("hello"))
    assert (encoded.form, encoded.data) == (MARKDOWN, b"hello")
    assert encoded.options == {"kind": "text", "sections": 1, "caption": "c"}


def test_the_daemons_own_worker_passes_text_through() -> None:
    workers = Workers()
    assert workers.encode(text("# hello")).data == b"# hello"
    workers.close()


def test_one_process_serves_item_after_item(workers: Workers) -> None:
    assert workers.pids() == []
    pids = set()
    for number in range(20):
        assert workers.encode(text(str(number))).data == str(number).encode()
        pids.update(workers.pids())
    assert len(pids) == 1


@pytest.mark.cap("encoding")
def test_threads_have_a_process_each() -> None:
    workers = Workers(2, 30.0, 1 << 30, HOSTILE)
    both = threading.Barrier(2)

    def work(number: int) -> bytes:
        both.wait(30)
        return workers.encode(text(str(number))).data

    futures = [workers.submit(partial(work, number)) for number in range(4)]
    assert [future.result(60) for future in futures] == [b"0", b"1", b"2", b"3"]
    assert len(workers.pids()) <= 2
    workers.close()


@pytest.mark.parametrize(("said", "reason"), [
    ("crash", "dies .signal 11."),
    ("hang", "takes more than 3 s"),
    ("memory", "more memory"),
    ("unfit", "a text that is unfit"),
    ("bug", "ZeroDivisionError: division by zero"),
    ("lies", "an encoded item has at most"),
    ("large", "314572800 bytes"),
    ("odd", "nested deeper"),
])  # fmt: skip
@pytest.mark.cap("encoding")
def test_a_hostile_item_is_refused_with_its_reason_and_the_next_one_is_encoded(
    workers: Workers, said: str, reason: str
) -> None:
    assert workers.encode(text("before")).data == b"before"
    with pytest.raises(UnfitError, match=reason):
        workers.encode(text(said))
    assert workers.encode(text("after")).data == b"after"
    assert len(workers.pids()) == 1


def test_what_libraries_print_is_no_answer(workers: Workers) -> None:
    assert workers.encode(text("noise")).data == b"noise"


def test_an_item_whose_worker_is_killed_is_tried_again(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "armed").touch()
    said = f"crash once {tmp_path / 'armed'}"
    assert workers.encode(text(said)).data == said.encode()


def test_an_idle_worker_that_was_killed_costs_nothing(workers: Workers) -> None:
    workers.encode(text("before"))
    (pid,) = workers.pids()
    os.kill(pid, signal.SIGKILL)
    assert workers.encode(text("after")).data == b"after"


def test_all_idle_workers_that_were_killed_cost_nothing() -> None:
    workers = Workers(2, 30.0, 1 << 30, HOSTILE)
    both = threading.Barrier(2)
    pids: set[int] = set()

    def hold() -> bytes:
        data = workers.encode(text("before")).data
        pids.update(workers.pids())
        both.wait(30)
        return data

    while len(pids) < 2:
        for future in [workers.submit(hold) for _ in range(2)]:
            assert future.result(60) == b"before"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert workers.encode(text("after")).data == b"after"
    workers.close()


def test_idle_workers_are_ended(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.encode(text("hello"))
    workers.end_idle()
    (pid,) = workers.pids()
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    workers.end_idle()
    assert workers.pids() == []
    assert not psutil.pid_exists(pid)


def test_workers_give_way_to_trainings(workers: Workers) -> None:
    workers.encode(text("hello"))
    assert psutil.Process(workers.pids()[0]).nice() == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


def test_closing_ends_a_worker_in_the_middle_of_an_item(eventually: Callable[..., None]) -> None:
    workers = Workers(1, 600.0, 1 << 30, HOSTILE)
    future = workers.submit(lambda: workers.encode(text("hang")))
    eventually(workers.pids)
    workers.close()
    with pytest.raises(WorkersError):
        future.result(0)
    with pytest.raises(WorkersError):
        workers.encode(text("hello"))


def test_a_worker_that_has_just_answered_when_all_are_closed_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(1, 3.0, 1 << 30, HOSTILE)
    encoded, answered = workers._encoded, []

    def close_first(worker: Any, answer: Any) -> Any:
        answered.append(worker)
        workers.close()
        return encoded(worker, answer)

    monkeypatch.setattr(workers, "_encoded", close_first)
    assert workers.encode(text("late")).data == b"late"
    assert [worker.lives for worker in answered] == [False]
    assert not psutil.pid_exists(answered[0].pid)


def test_a_worker_that_does_not_start_is_no_items_fault() -> None:
    for command in (("/does/not/exist",), (sys.executable, "-c", "raise SystemExit(3)")):
        workers = Workers(1, 2.0, 1 << 30, command)
        with pytest.raises(WorkersError, match="does not start"):
            workers.encode(text("hello"))
        workers.close()


DAEMON = """
import sys
from asynclogd.media.requests import Request
from asynclogd.media.workers import Workers
workers = Workers(1, 600.0, 1 << 30, sys.argv[1:])
workers.encode(Request("text", (), {}, b"hello"))
print(*workers.pids(), flush=True)
workers.encode(Request("text", (), {}, b"hang"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker ends with its item, or by its own alarm")
def test_workers_die_with_the_daemon(eventually: Callable[..., None]) -> None:
    with subprocess.Popen([sys.executable, "-c", DAEMON, *HOSTILE], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        worker = psutil.Process(int(daemon.stdout.readline()))
        daemon.kill()
    eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_a_body_is_read_from_an_outbox_by_the_worker(workers: Workers, tmp_path: Path) -> None:
    outbox = tmp_path / "o.outbox"
    outbox.write_bytes(outboxfile.header(100) + b"x" * 10 + b"hello" + bytes(85))
    request = Request("text", (), {}, Place(0, 210, 5), (str(outbox),))
    assert workers.encode(request).data == b"hello"
    outbox.unlink()
    with pytest.raises(UnfitError, match=f"its body is gone: {outbox}"):
        workers.encode(request)
