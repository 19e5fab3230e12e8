"""What a rank that is out of order, or is none, can say within the protocol: it harms its own stream and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asynclog_proto import records
from asynclog_proto.frames import Ack, Batch, Finish, Hello, Ledger, Message, Refused, Welcome, decode, encode
from asynclog_proto.limits import MAX_CAUSES
from asynclogd.config import Config, DaemonSettings
from asynclogd.hub import Hub
from asynclogd.session import OTHER, Session, new_stream

SAID: list[records.Record] = [
    records.Layout(0, ("loss",)),
    records.Row(0, 1, 0.0, 1.0, (0.5,)),
    records.Row(0, 2, 0.0, 1.0, (0.5,)),
]
HELLO = Hello("p", "run", "/", 0, 2, "first", "launch", 0, 1, "host")


class Peers:
    """Peers of a hub, and what each is told."""

    def __init__(self, folder: Path) -> None:
        self.told: dict[bytes, list[Message]] = {}
        (folder / "runs").mkdir()
        config = Config(daemon=DaemonSettings(commit_interval=0.0, join_deadline=0.0), backends={})
        self.hub = Hub(folder, config, self._send)
        self._folder = folder

    def _send(self, peer: bytes, message: Message) -> None:
        self.told.setdefault(peer, []).append(decode([bytes(part) for part in encode(message)])[0])

    async def say(self, peer: bytes, message: Message, payload: bytes = b"") -> list[Message]:
        """A message; all that this peer was told until it is journaled."""
        if isinstance(message, Hello):
            message = replace(message, dir=str(self._folder))
        self.hub.deliver(peer, message, memoryview(payload))
        while self.hub._tasks:
            await asyncio.gather(*self.hub._tasks)
        for run in self.hub.runs.values():
            await run._commits.settle()
            assert not run.journal_error
        return self.told.get(peer, [])


def play(folder: Path, act: Callable[[Peers], Awaitable[None]]) -> None:
    async def main() -> None:
        peers = Peers(folder)
        await act(peers)
        await peers.hub.close(30)

    asyncio.run(asyncio.wait_for(main(), 60))


def payload(*said: records.Record) -> bytes:
    return b"".join(map(records.encode, said))


@pytest.mark.parametrize("again", [b"\xc1", payload(*SAID[:1]), payload(*SAID), payload(*SAID) + b"\x91"])
def test_a_batch_that_repeats_records_and_is_spoiled_refuses_its_stream(tmp_path: Path, again: bytes) -> None:
    """It raised in the event loop, and its stream was never acked again."""

    async def act(peers: Peers) -> None:
        other = replace(HELLO, rank=1, incarnation="other")
        for peer, hello in ((b"a", HELLO), (b"b", other)):
            await peers.say(peer, hello)
            assert isinstance((await peers.say(peer, Batch(0, 3), payload(*SAID)))[-1], Ack)
        assert isinstance((await peers.say(b"a", Batch(0, 5), again))[-1], Refused)
        assert isinstance((await peers.say(b"a", Batch(3, 1), payload(SAID[1])))[-1], Refused)
        assert (await peers.say(b"b", Batch(3, 1), payload(SAID[1])))[-1] == Ack(4, 8 << 20)

    play(tmp_path, act)


def test_a_peer_that_opens_another_stream_is_told_nothing_of_the_former_one(tmp_path: Path) -> None:
    """The acks of one would free records of the other, which nobody has journaled."""

    async def act(peers: Peers) -> None:
        await peers.say(b"a", HELLO)
        peers.hub.deliver(b"a", Batch(0, 3), memoryview(payload(*SAID)))
        told = await peers.say(b"a", replace(HELLO, rank=1, incarnation="other"))
        welcomes = [number for number, message in enumerate(told) if isinstance(message, Welcome)]
        assert told[welcomes[-1]].next_seq == 0  # type: ignore[union-attr]
        assert all(message.next_seq == 0 for message in told[welcomes[-1] :] if isinstance(message, Ack))

    play(tmp_path, act)


def test_counts_out_of_all_proportion_break_no_run(tmp_path: Path) -> None:
    async def act(peers: Peers) -> None:
        for number in range(3):
            peer = b"%d" % number
            await peers.say(peer, replace(HELLO, world_size=3, rank=number, incarnation=str(number)))
            await peers.say(peer, Batch(0, 1), payload(records.End("success")))
        told = [await peers.say(b"%d" % number, Finish((1 << 63) - 1, {})) for number in range(3)]
        assert all(isinstance(each[-1], Ledger) for each in told)

    play(tmp_path, act)


@pytest.mark.cap("causes")
def test_causes_of_drops_that_never_end_are_counted_together() -> None:
    session = Session.of(new_stream(1, HELLO))
    for number in range(1000):
        session.count(0, {f"cause {number}": 1, "ring_full": number})
    assert len(session.dropped) == MAX_CAUSES + 1
    assert (session.dropped["ring_full"], session.dropped[OTHER]) == (999, 1)
