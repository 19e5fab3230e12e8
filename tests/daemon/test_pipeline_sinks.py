"""A run's sinks over its real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclog_proto import records
from asynclog_proto.frames import Finish, Hello, Ledger, Message
from asynclogd.backends.base import BackendConfig, Item, PermanentError, Position
from asynclogd.config import DaemonSettings
from asynclogd.journal import Journal
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline
from tests.daemon.filebackend import AppendBackend

SETTINGS = DaemonSettings(commit_interval=0.0, flush_interval=0.001)
HERE = {"class": "tests.daemon.test_pipeline_sinks:Mine"}


class Mine(AppendBackend):
    """As the registry makes one."""

    def __init__(self, config: BackendConfig | None = None) -> None:
        super().__init__()
        del config


class Misplaced(Mine):
    """Takes everything, and says where it is in words that no journal can hold."""

    def flush(self) -> Position:
        return {**super().flush(), "items": np.int64(3)}


class Refusing(Mine):
    """Quotes what it refuses as it came from a file's name."""

    def write(self, batch: Sequence[Item]) -> None:
        del batch
        raise PermanentError("no such file: caf\udce9")


def play(
    run_dir: Path, act: Callable[[Pipeline], Awaitable[None]], send: Callable[..., None] = lambda *_: None
) -> Pipeline:
    run_dir.mkdir(parents=True, exist_ok=True)

    async def main() -> Pipeline:
        pipeline = Pipeline(run_dir, SETTINGS, send, Workers())
        await pipeline.open()
        await act(pipeline)
        await pipeline.close(30)
        return pipeline

    return asyncio.run(asyncio.wait_for(main(), 60))


def log(pipeline: Pipeline, steps: range) -> None:
    launch = f"launch{steps.start}"
    session = pipeline.hello(Hello("p", "run", "/tmp", 0, 1, launch, launch, 0, 1, "host"), None)
    rows = [records.Row(0, step, 0.0, 1.0, (float(step),)) for step in steps]
    said: list[records.Record] = [records.Layout(0, ("loss",)), *rows, records.End("success")]
    pipeline.batch(session, 0, len(said), b"".join(map(records.encode, said)))


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does; `play` has the deadline."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)


async def delivered(pipeline: Pipeline) -> None:
    await pipeline._commits.settle()
    await until(lambda: pipeline.complete)


def read_steps(run_dir: Path) -> list[int]:
    text = (run_dir / "file" / "lines").read_text()
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("loss ")]


def test_a_backend_that_starts_over_has_each_point_once_and_the_ledger_balances(tmp_path: Path) -> None:
    run_dir = tmp_path / "p" / "run"

    async def first(pipeline: Pipeline) -> None:
        pipeline.add_backend("file", HERE, 1)
        log(pipeline, range(10))
        await delivered(pipeline)

    async def second(pipeline: Pipeline) -> None:
        pipeline.add_backend("file", HERE, 1)
        await until(lambda: pipeline.fanout.statuses()["file"].started_over == 1)
        await delivered(pipeline)

    play(run_dir, first)
    with (run_dir / "file" / "lines").open("a") as file:
        file.write("loss 99 what a crash left\n")
    pipeline = play(run_dir, second)
    assert read_steps(run_dir) == list(range(10))
    told = pipeline.ledger()["backends"]["file"]
    assert told == {"delivered": 10, "pending": 0, "limited": 0, "dead": 0, "points": 10}


def test_a_backend_that_is_added_later_starts_from_the_runs_beginning(tmp_path: Path) -> None:
    run_dir = tmp_path / "p" / "run"

    async def act(pipeline: Pipeline) -> None:
        log(pipeline, range(10))
        await delivered(pipeline)
        pipeline.add_backend("file", HERE, 1)
        await delivered(pipeline)

    assert play(run_dir, act).ledger()["backends"]["file"]["delivered"] == 10
    assert read_steps(run_dir) == list(range(10))


def test_a_position_that_can_not_be_journaled_is_that_backends_own_failure(tmp_path: Path) -> None:
    run_dir = tmp_path / "p" / "run"

    async def act(pipeline: Pipeline) -> None:
        pipeline.add_backend("file", HERE, 1)
        pipeline.add_backend("misplaced", {"class": "tests.daemon.test_pipeline_sinks:Misplaced"}, 1)
        await until(lambda: pipeline.fanout.statuses()["misplaced"].state == "broken")
        log(pipeline, range(10))
        await until(lambda: pipeline.ledger()["backends"]["file"]["delivered"] == 10)
        await pipeline._commits.settle()
        assert not pipeline._commits.failed
        assert "numpy.int64" in pipeline.fanout.statuses()["misplaced"].error
        pipeline.fanout.sinks["misplaced"].ask_stop("now")

    assert play(run_dir, act).ledger()["backends"]["misplaced"]["pending"] == 10
    assert read_steps(run_dir) == list(range(10))


def test_a_reason_that_no_journal_can_hold_as_it_is_is_spelt(tmp_path: Path) -> None:
    run_dir = tmp_path / "p" / "run"

    async def act(pipeline: Pipeline) -> None:
        pipeline.add_backend("refusing", {"class": "tests.daemon.test_pipeline_sinks:Refusing"}, 1)
        log(pipeline, range(3))
        await until(lambda: pipeline._commits.failed or pipeline.complete)

    assert play(run_dir, act).ledger()["backends"]["refusing"]["dead"] == 3
    with Journal.open(run_dir / "journal.sqlite") as journal:
        assert {letter.reason for letter in journal.dead_letters()} == {r"no such file: caf\udce9"}


def test_ranks_that_end_together_are_told_one_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a look at every rank: one for each of them would be a million looks at 1,000 ranks."""
    told: list[Ledger] = []
    made: list[dict[str, Any]] = []

    def send(peer: bytes, message: Message) -> None:
        del peer
        told.extend([message] if isinstance(message, Ledger) else [])

    async def act(pipeline: Pipeline) -> None:
        ledger = pipeline.ledger

        def looked() -> dict[str, Any]:
            made.append(ledger())
            return made[-1]

        monkeypatch.setattr(pipeline, "ledger", looked)
        for rank in range(5):
            name = f"r{rank}"
            session = pipeline.hello(Hello("p", "run", "/tmp", rank, 5, name, "launch", 0, 1, "host"), name.encode())
            pipeline.batch(session, 0, 1, records.encode(records.End("success")))
            pipeline.finish(session, Finish(0, {}))
        await until(lambda: len(told) == 5)

    play(tmp_path / "p" / "run", act, send)
    assert [ledger.ledger for ledger in told] == made * 5
