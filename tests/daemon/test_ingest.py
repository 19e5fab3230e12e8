"""The doors on the event loop."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from asynclog_proto import frames, places
from asynclog_proto.frames import Heartbeat, Message, Query, Refused
from asynclogd import listening
from asynclogd.ingest import BURST, Ingest
from tests.daemon.peers import dealer


def test_a_message_over_which_the_daemon_trips_keeps_nobody_out(
    runtime_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The socket's edge has passed by then: what stands behind that message waited for one that may not come."""

    def deliver(peer: bytes, message: Message, _: memoryview) -> None:
        assert not isinstance(message, Heartbeat), "a defect"
        ingest.send(peer, Refused("as asked"))

    def talk() -> int:
        with dealer(places.endpoint(runtime_dir)) as peer:
            for message in [Heartbeat(0, 0, {})] * 3 + [Query()] * (2 * BURST):
                peer.send_multipart(frames.encode(message))
            answers = 0
            while answers < 2 * BURST and peer.poll(10_000):
                peer.recv_multipart()
                answers += 1
            return answers

    async def main() -> int:
        ingest.open([listening.on_path(runtime_dir / "daemon.sock")], 10)
        ingest.start()
        answers = await asyncio.to_thread(talk)
        ingest.pause()
        ingest.close()
        return answers

    ingest = Ingest(deliver)
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(main()) == 2 * BURST
    assert [record.getMessage() for record in caplog.records] == ["a message of type Heartbeat could not be taken"] * 3
