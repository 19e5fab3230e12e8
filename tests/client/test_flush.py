"""flush() as the client sees it: its record, its question, its bounded wait, and what it says when that ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog_proto import records, spoolfile
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]


def passes(daemon: ScriptedDaemon) -> list[int]:
    """The steps of the PASS records that the daemon has."""
    return [record.step for record in daemon.records() if isinstance(record, records.Pass)]


def test_all_that_was_logged_is_journaled_and_the_run_goes_on(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    for round_ in range(3):
        for step in range(100 * round_, 100 * round_ + 100):
            run.log({"x": float(step)})
        assert run.flush() is True
        assert len(daemon.points()) == 100 * round_ + 100
    assert passes(daemon) == [99, 199, 299]
    assert [flush.step for flush in daemon.flushes] == [99, 199, 299]
    assert run.finish().complete


def test_a_rank_that_has_logged_nothing_flushes_too(daemon: ScriptedDaemon, begin: Begin) -> None:
    assert begin().flush() is True
    assert passes(daemon) == [-1]


def test_it_is_also_the_current_runs(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"x": 1.0})
    assert asynclog.flush() is True
    assert daemon.points() == [(0, "x", 1.0)]


def test_without_a_run_it_says_so(begin: Begin) -> None:
    with pytest.warns(AsynclogWarning, match=r"flush\(\) without a run"):
        assert asynclog.flush() is True


def test_at_the_deadline_it_says_what_is_missing_each_time(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.holds_flushes = True
    run = begin()
    run.log({"x": 1.0}, step=7)
    for _ in range(2):
        with pytest.warns(AsynclogWarning, match="not in the files yet: other ranks are not past step 7") as told:
            assert run.flush(timeout=0.5) is False
        assert len(told) == 1
    daemon.holds_flushes = False
    assert run.flush() is True
    assert passes(daemon) == [7, 7, 7]


def test_without_a_daemon_it_says_so(begin: Begin) -> None:
    run = begin()
    run.log({"x": 1.0})
    with pytest.warns(AsynclogWarning, match=r"flush\(\): no daemon answers"):
        assert run.flush(timeout=0.2) is False


def test_a_record_that_is_not_journaled_is_told(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    assert run.flush() is True
    daemon.before_batch = lambda _: False
    run.log({"x": 1.0})
    with pytest.warns(AsynclogWarning, match="3 records are not journaled yet"):
        assert run.flush(timeout=0.5) is False
    daemon.before_batch = lambda _: True


def test_a_refused_stream_does_not_wait(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.refuses = "no such project"
    run = begin()
    run.log({"x": 1.0})
    with pytest.warns(AsynclogWarning) as told:
        assert run.flush(timeout=60) is False
    assert any("flush(): the daemon refuses this run: no such project" in str(one.message) for one in told)


def test_a_daemon_that_dies_before_it_answers_is_asked_again(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    daemon.holds_flushes = True
    run = begin()
    run.log({"x": 1.0})
    answers: list[bool] = []
    waits = threading.Thread(target=lambda: answers.append(run.flush(timeout=60)))
    waits.start()
    eventually(lambda: len(daemon.flushes) == 1, what="the daemon is asked")
    daemon.kill()
    daemon.start()
    eventually(lambda: len(daemon.flushes) == 2, what="the daemon is asked again")
    daemon._peers.clear()  # a daemon that came back so fast that the connection never broke
    eventually(lambda: len(daemon.flushes) == 3, what="the daemon is asked once more")
    daemon.holds_flushes = False
    daemon.kill()
    daemon.start()
    waits.join()
    assert answers == [True]
    assert passes(daemon) == [0]


def test_many_threads_flush_at_once(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    answers: list[bool] = []

    def log_and_flush() -> None:
        for _ in range(5):
            run.log({"x": 1.0})
            answers.append(run.flush(timeout=60))

    threads = [threading.Thread(target=log_and_flush) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 40
    assert len(passes(daemon)) == 40


def test_offline_everything_is_in_the_spool_when_it_returns(begin: Begin) -> None:
    run = begin(mode="offline")
    for count in (100, 200):
        for _ in range(100):
            run.log({"x": 1.0})
        assert run.flush() is True
        batches = [
            batch
            for segment in sorted((run.dir / "spool").glob("*/*.spool"))
            for batch in spoolfile.read_batches(memoryview(segment.read_bytes()))
        ]
        said = [
            records.decode(batch.payload[start:end])
            for batch in batches
            for start, end in records.iterate(batch.payload)
        ]
        assert sum(isinstance(record, records.Row) for record in said) == count


def test_offline_a_spool_that_takes_no_more_is_told(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(AsynclogWarning, match="the run's directory"):
        run = begin(mode="offline", dir=str(tmp_path / "file"))
    run.log({"x": 1.0})
    with pytest.warns(AsynclogWarning) as told:
        assert run.flush(timeout=0.5) is False
    assert sum("flush(): the spool in" in str(one.message) for one in told) == 1


def test_disabled_and_finished_runs_have_nothing_to_wait_for(daemon: ScriptedDaemon, begin: Begin) -> None:
    assert begin(mode="disabled").flush() is True
    run = begin()
    run.finish()
    assert run.flush() is True
    assert daemon.flushes == []


def test_a_finish_in_another_thread_ends_the_wait(daemon: ScriptedDaemon, begin: Begin, eventually: Eventually) -> None:
    daemon.holds_flushes = True
    run = begin()
    run.log({"x": 1.0})
    answers: list[bool] = []
    waits = threading.Thread(target=lambda: answers.append(run.flush(timeout=60)))
    waits.start()
    eventually(lambda: daemon.flushes, what="the daemon is asked")
    assert run.finish().complete
    waits.join()
    assert answers == [True]


def test_in_a_forked_child_it_has_no_effect(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"x": 1.0})
    child = os.fork()
    if child == 0:
        try:
            with pytest.warns(AsynclogWarning, match=r"flush\(\) after fork\(\) has no effect"):
                os._exit(0 if run.flush(timeout=60) is False else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert run.flush() is True


def test_in_a_signal_handler_inside_log_it_does_not_hang(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    answers: list[bool] = []

    class Signals(float):
        """Has its process signalled while log() looks at it."""

        def __float__(self) -> float:
            os.kill(os.getpid(), signal.SIGUSR1)
            return 1.0

    before = signal.signal(signal.SIGUSR1, lambda *_: answers.append(run.flush(timeout=60)))
    try:
        with pytest.warns(AsynclogWarning, match=r"flush\(\) inside a call of log\(\)"):
            run.log({"x": Signals(1.0)})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == [False]
