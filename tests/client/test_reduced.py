"""reduced() as the client sees it: a question once the rows before it are journaled, and a future that always ends."""

# ruff: noqa: PT031 - that a warning is told once shows over several calls

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import asynclog
from asynclog import AsynclogWarning, NoValueError
from asynclog_proto.frames import Value
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]


def why(future: Any) -> str:
    with pytest.raises(NoValueError) as error:
        future.result(30)
    return str(error.value)


def test_the_answer_is_the_futures_result(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.answers = lambda ask: Value(ask.number, 0.1)
    run = begin()
    run.log({"loss": 1.0}, step=4)
    assert run.reduced("loss", step=4).result(30) == 0.1
    assert run.reduced("loss").result(30) == 0.1
    assert [(ask.name, ask.step, ask.next_seq >= 2) for ask in daemon.asks] == [
        ("loss", 4, True),
        ("loss", None, True),
    ]


def test_rows_go_out_at_once_for_a_question(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_FLUSH_MS", "10000")
    run = begin()
    run.log({"loss": 1.0})
    assert run.reduced("loss", step=7).result(30) == 7.0


def test_a_reason_is_the_futures_error(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.answers = lambda ask: Value(ask.number, None, "nobody logged it")
    assert why(begin().reduced("loss", step=2)) == "reduced('loss', step=2): nobody logged it"


def test_questions_are_asked_again_of_a_daemon_that_comes_back(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    daemon.answers = lambda _: None
    run = begin()
    futures = [run.reduced("loss", step) for step in range(50)]
    eventually(lambda: len(daemon.asks) == 50, what="all are asked")
    daemon.kill()
    daemon.answers = lambda ask: Value(ask.number, float(ask.step or 0))
    daemon.start()
    assert [future.result(30) for future in futures] == [float(step) for step in range(50)]


@pytest.mark.cap("questions")
def test_open_questions_are_bounded(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr("asynclog.questions.MAX_ASKS", 10)
    daemon.answers = lambda _: None
    run = begin()
    futures = [run.reduced("loss", step) for step in range(11)]
    assert "10 values are asked for and not there yet" in why(futures[10])
    assert futures[0].cancel()
    eventually(lambda: len(daemon.asks) >= 9, what="the others are asked")
    assert not run.reduced("loss", 11).done()


@pytest.mark.parametrize(
    ("name", "step", "text"),
    [("", 1, "a name is a non-empty string"), (3, 1, "a name is"), ("x", "1", "a step is an integer"),
     ("x", 1 << 63, "64 bits")],
)  # fmt: skip
def test_what_can_not_be_asked_is_told(name: Any, step: Any, text: str, daemon: ScriptedDaemon, begin: Begin) -> None:
    assert text in why(begin().reduced(name, step))
    assert daemon.asks == []


def test_runs_that_nobody_reduces_say_so_at_once(daemon: ScriptedDaemon, begin: Begin) -> None:
    assert "the run is offline" in why(begin(mode="offline").reduced("loss", 0))
    assert "the run is disabled" in why(begin(mode="disabled").reduced("loss", 0))
    run = begin()
    run.finish()
    assert "the run is finished" in why(run.reduced("loss", 0))


def test_a_refused_stream_fails_what_is_open_and_what_comes(
    endpoint: str, begin: Begin, eventually: Eventually
) -> None:
    daemon = ScriptedDaemon(endpoint)
    daemon.refuses = "no such project"
    run = begin()
    future = run.reduced("loss", 0)
    daemon.start()
    with pytest.warns(AsynclogWarning, match="no such project"):
        assert "the daemon refuses this run: no such project" in why(future)
        eventually(lambda: run._sender is not None and run._sender.refused, what="it is known")
        assert "the daemon refuses this run: no such project" in why(run.reduced("loss", 0))
        run.finish()
    daemon.kill()


def test_a_run_that_ends_fails_what_is_open(daemon: ScriptedDaemon, begin: Begin, eventually: Eventually) -> None:
    daemon.answers = lambda _: None
    run = begin()
    future = run.reduced("loss", 0)
    eventually(lambda: daemon.asks, what="it is asked")
    assert run.finish().complete
    assert "the run ended before its step was closed" in why(future)


def test_the_callers_timeout_is_the_futures(daemon: ScriptedDaemon, begin: Begin) -> None:
    from concurrent.futures import TimeoutError as FutureTimeoutError

    daemon.answers = lambda _: None
    with pytest.raises(FutureTimeoutError):
        begin().reduced("loss", 0).result(0.05)


def test_in_a_forked_child_it_fails(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if "a forked process has no run" in why(run.reduced("loss", 0)) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert run.reduced("loss", 3).result(30) == 3.0


def test_many_threads_ask_at_once(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    told: list[tuple[int, float]] = []

    def ask(thread: int) -> None:
        for step in range(thread * 100, thread * 100 + 20):
            run.log({"loss": 1.0})
            told.append((step, run.reduced("loss", step).result(30)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 160
    assert all(value == float(step) for step, value in told)
