"""What dead ranks leave, and daemons whose rounds are made by hand to take it up."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from asynclog_proto import frames, places, records, ringfile, spoolfile
from asynclog_proto.frames import Hello, Message
from asynclogd.config import Config, DaemonSettings
from asynclogd.hub import Hub


def hello(root: Path, run: str, incarnation: str, **files: Any) -> Hello:
    """Of a rank that asks for no backend."""
    return Hello("p", run, str(root), 0, 1, incarnation, incarnation, 0, 1, "host", backends={}, **files)


RECORDS = [records.encode(records.Layout(0, ("x",))), records.encode(records.Row(0, 7, 0.0, 1.0, (0.5,)))]
"""One value."""


def left_ring(ring: Path, hello: Hello, said: list[bytes] = RECORDS) -> Path:
    """The ring of a dead rank, with what it said."""
    ring.parent.mkdir(parents=True, exist_ok=True)
    of = bytes(frames.encode(replace(hello, ring=str(ring)))[0])
    data, body = bytearray(ringfile.header(1 << 16, of) + bytes(1 << 16)), b"".join(said)
    data[ringfile.HEADER : ringfile.HEADER + len(body)] = body
    data[ringfile.HEAD : ringfile.HEAD + 8] = len(body).to_bytes(8, sys.byteorder)
    ring.write_bytes(data)
    return ring


def left_spool(root: Path, run: str, incarnation: str) -> Path:
    """The spool of a dead rank, with one value."""
    spool = places.spool_dir(root / "p" / run, 1, incarnation)
    spool.mkdir(parents=True)
    said = bytes(frames.encode(hello(root, run, incarnation, spool=str(spool)))[0])
    segment = spoolfile.start(said) + spoolfile.entry(0, len(RECORDS), b"".join(RECORDS))
    (spool / f"00000001{spoolfile.SUFFIX}").write_bytes(segment)
    return spool


class Place:
    """A runtime directory and its daemons, one after the other, whose rounds are made by hand."""

    def __init__(self, root: Path) -> None:
        self.root, self.told = root, asyncio.Queue[Message]()
        (root / "runs").mkdir()

    def daemon(self, **settings: Any) -> Hub:
        return Hub(self.root, Config(daemon=DaemonSettings(**settings)), lambda _, told: self.told.put_nowait(told))

    async def say(self, daemon: Hub, message: Message, kind: type[Message], payload: bytes = b"") -> None:
        daemon.deliver(b"peer", message, memoryview(payload))
        while not isinstance(await asyncio.wait_for(self.told.get(), 30), kind):
            pass

    async def until(self, daemon: Hub, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, f"given up: {daemon.given_up}"
            await daemon.rounds.look()
            await asyncio.sleep(0.01)
