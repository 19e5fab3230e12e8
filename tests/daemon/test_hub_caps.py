"""Caps of a daemon: runs, streams and unacked bytes of all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from asynclog_proto import records
from asynclog_proto.frames import Ack, Batch, Finish, Hello, Ledger, Message, Reset, Welcome
from asynclogd.config import Config, DaemonSettings
from asynclogd.hub import Hub

MIB = 1 << 20
LAYOUT = records.encode(records.Layout(0, ("x",)))

T = TypeVar("T", bound=Message)


class Ranks:
    """Ranks of runs below `root`, each by the run's name and its own incarnation, which are its address too."""

    def __init__(self, root: Path, **caps: Any) -> None:
        self.root, self.told = root, asyncio.Queue[tuple[bytes, Message]]()
        (root / "runs").mkdir()
        self.hub = Hub(root, Config(daemon=DaemonSettings(**caps)), lambda *told: self.told.put_nowait(told))

    async def _answer(self, peer: bytes, kind: type[T]) -> T:
        while True:
            to, message = await asyncio.wait_for(self.told.get(), 30)
            if to == peer and isinstance(message, kind):
                return message

    async def hello(self, run: str, incarnation: str, kind: type[T]) -> T:
        hello = Hello("p", run, str(self.root), 0, 1, incarnation, incarnation, 0, 1, "host", backends={})
        peer = f"{run}/{incarnation}".encode()
        self.hub.deliver(peer, hello, memoryview(b""))
        return await self._answer(peer, kind)

    async def say(self, run: str, incarnation: str, seq: int, record: bytes) -> Ack:
        peer = f"{run}/{incarnation}".encode()
        self.hub.deliver(peer, Batch(seq, 1), memoryview(record))
        return await self._answer(peer, Ack)


def with_ranks(work: Callable[[Ranks], Awaitable[None]], root: Path, **caps: Any) -> None:
    async def main() -> None:
        ranks = Ranks(root, **caps)
        try:
            await work(ranks)
        finally:
            await ranks.hub.close(30)

    asyncio.run(main())


@pytest.mark.cap("peers")
def test_a_run_too_many_waits_until_another_is_closed(tmp_path: Path) -> None:
    async def work(ranks: Ranks) -> None:
        await ranks.hello("one", "a", Welcome)
        refused = await ranks.hello("two", "b", Reset)
        assert "1 runs are open: daemon.max_runs = 1" in refused.notice
        assert list(ranks.hub.untaken.values()) == ["1 runs are open: daemon.max_runs = 1"]
        assert not (tmp_path / "p" / "two").exists()
        await ranks.hello("one", "a", Welcome)  # again, after a reconnect
        await ranks.hub._runs.close(ranks.hub.runs[tmp_path / "p" / "one"], 30)
        await ranks.hello("two", "b", Welcome)
        assert ranks.hub.untaken == {}

    with_ranks(work, tmp_path, max_runs=1)


@pytest.mark.cap("peers")
@pytest.mark.parametrize("other", ["one", "two"])
def test_a_stream_too_many_waits_until_another_has_ended(tmp_path: Path, other: str) -> None:
    """Those that are open may say hello again, and those that have ended do not count."""

    async def work(ranks: Ranks) -> None:
        await ranks.hello("one", "a", Welcome)
        refused = await ranks.hello(other, "b", Reset)
        assert "1 streams are open: daemon.max_streams = 1" in refused.notice
        await ranks.hello("one", "a", Welcome)
        await ranks.say("one", "a", 0, records.encode(records.End("success")))
        await ranks.hello(other, "b", Welcome)

    with_ranks(work, tmp_path, max_streams=1)


@pytest.mark.cap("credit")
def test_streams_of_all_runs_share_the_credit(tmp_path: Path) -> None:
    async def work(ranks: Ranks) -> None:
        assert (await ranks.hello("one", "a", Welcome)).credit == 4 * MIB
        assert (await ranks.hello("two", "b", Welcome)).credit == 2 * MIB
        assert (await ranks.say("one", "a", 0, LAYOUT)).credit == 2 * MIB
        for number in range(61):
            await ranks.hello("three", f"c{number}", Welcome)
        assert (await ranks.hello("three", "last", Welcome)).credit == 4 * MIB // 64

    with_ranks(work, tmp_path, credit_mb=4)


@pytest.mark.cap("run-names")
def test_a_run_with_too_many_names_is_told_of_once_and_ends_complete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(ranks: Ranks) -> None:
        await ranks.hello("one", "a", Welcome)
        for step in range(5):
            layout = records.Layout(step, ("loss", f"new/{step}"))
            await ranks.say("one", "a", 2 * step, records.encode(layout))
            await ranks.say("one", "a", 2 * step + 1, records.encode(records.Row(step, step, 0.0, 1.0, (0.5, 0.5))))
        await ranks.say("one", "a", 10, records.encode(records.End("success")))
        run = ranks.hub.runs[tmp_path / "p" / "one"]
        assert run.ledger()["dropped"] == {"names_full": 3}
        assert run.ledger()["journaled"] == 7
        ranks.hub.deliver(b"one/a", Finish(10, {}), memoryview(b""))
        ledger = (await ranks._answer(b"one/a", Ledger)).ledger
        assert ledger["in_transit"] == 0
        assert ledger["dropped"] == {"names_full": 3}

    with_ranks(work, tmp_path, max_names=3)
    told = [record.getMessage() for record in caplog.records if "max_names" in record.getMessage()]
    text = "run p/one: it has 3 different names, as many as it may (daemon.max_names): values of others are dropped, of"
    assert told == [f"{text} 'new/2' for one"]
