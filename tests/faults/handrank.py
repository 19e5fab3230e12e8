"""A rank in this process, driven by hand: the client's own parts over real files, a wire in place of its socket, and no
thread. What its thread would do in one round is `turn`; what SIGKILL leaves of it is what `kill` leaves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from asynclog import bodies, ringplace
from asynclog.backlog import Backlog
from asynclog.calls import Calls
from asynclog.launcher import Launcher
from asynclog.notices import Notices
from asynclog.rhythm import Rhythm
from asynclog.ring import Ring, RingRange
from asynclog.rows import Rows
from asynclog.sender import Sender
from asynclog.spool import Spool
from asynclog_proto import frames, places, records, spoolfile
from asynclog_proto.frames import Hello, Message

RING_BYTES, SPOOL_BYTES = 4096, 6144
"""So small that a few dozen rows fill them."""

Frames = list[bytes]


class Wire:
    """Both ways between one rank and the daemon; whoever holds it loses, repeats and reorders what is on it."""

    def __init__(self) -> None:
        self.up: list[Frames] = []
        self.down: list[Frames] = []
        self.arrived: list[Frames] = []
        """what has come down, and is not read yet"""

    def send(self, message: Message, payload: memoryview | bytes | None = None) -> bool:
        self.up.append([bytes(part) for part in frames.encode(message, payload)])
        return True

    def receive(self) -> Iterator[Message]:
        while self.arrived:
            yield frames.decode(self.arrived.pop(0), max_header=1 << 26)[0]

    def close(self) -> None:
        self.arrived.clear()


class Silent(Notices):
    """Warnings that nobody hears: what they tell of is what is wanted here."""

    def say(self) -> None:
        pass

    def say_quietly(self) -> None:
        pass


class Nobody(Launcher):
    """There is no daemon to be started: it comes when the test says so."""

    def ensure(self, now: float) -> None:
        self.last_sign = now


class HandRank:
    """One incarnation of a rank. `now` is its clock, in seconds."""

    def __init__(
        self, root: Path, runtime: Path, rank: int, world: int, launch: int, incarnation: str, backends: dict[str, Any]
    ) -> None:
        run_dir = places.run_dir(str(root), "p", "run")
        spool = str(places.spool_dir(run_dir, rank, incarnation))
        hello = Hello(
            "p",
            "run",
            str(root),
            rank,
            world,
            incarnation,
            f"launch{launch}",
            0,
            1,
            os.uname().nodename,
            "",
            spool,
            "",
            backends,
        )
        path = places.ring_path(runtime / "rings", run_dir, rank, incarnation)
        self.rank, self.launch, self.incarnation = rank, launch, incarnation
        self.wire = Wire()
        self.now = 1.0
        self.alive, self.left = True, False
        self.file = ringplace.create(
            [path], RING_BYTES, lambda path: bytes(frames.encode(replace(hello, ring=path))[0]), lambda _: None
        )
        os.utime(path, ns=(time.time_ns(), time.time_ns()))  # the kernel's own clock for it has steps of ms
        hello = replace(hello, ring=str(path))
        self.spool = Spool(Path(spool), bytes(frames.encode(hello)[0]), SPOOL_BYTES, lambda _: None)
        notices = Silent()
        self.rows = Rows(Ring(self.file.mapping), notices, bodies.nowhere(), strict=False)
        self.rows.writer.slow = Calls(self.rows, notices, strict=False).take
        launcher = Nobody("ipc:///nowhere", runtime, spawns=False, tell=lambda *_: None)
        self.sender = Sender(self.rows, self.file, self.spool, hello, launcher, notices, Rhythm(0.1, 0.1, 1))
        self.sender._link = self.wire  # type: ignore[assignment]

    @property
    def peer(self) -> bytes:
        return self.incarnation.encode()

    @property
    def ring(self) -> Ring:
        return self.rows.ring

    @property
    def backlog(self) -> Backlog:
        return self.sender._backlog

    @property
    def said_end(self) -> bool:
        """Whether the stream's END is in its ring, or further on."""
        return self.sender._stream.finishing

    def log(self, values: dict[str, float], step: int, reduce: str | None = None) -> bool:
        """Whether the row has been taken; else it is counted as dropped."""
        before = self.ring.dropped["ring_full"]
        self.rows.writer.log(values, step, reduce=reduce)
        return self.ring.dropped["ring_full"] == before

    def turn(self, seconds: float) -> None:
        """What the sender's thread does when it wakes up so much later."""
        self.now += seconds
        if self.sender._tick(self.now):
            self.leave()

    def flush(self) -> None:
        """Say that there is nothing more of the steps so far, as `run.flush()` does."""
        self.sender._append(records.Pass(max(self.rows.writer.highest, -1)))

    def finish(self, *, at_once: bool = False) -> None:
        """As `run.finish()`, by the sender's next turns. `at_once`: its time is over, the rest is spooled."""
        self.sender.finish("success", -1e9 if at_once else 1e9)

    def leave(self) -> None:
        """What the sender's thread does at its end."""
        self.sender._leave()
        self.sender._close()
        self.alive, self.left = False, True

    def kill(self, *, in_mid_spool: bool = False) -> None:
        """SIGKILL. `in_mid_spool`: while it wrote a batch to the spool, half of which is there."""
        if in_mid_spool:
            self._tear_spool()
        for close in (self.spool._close_writing, self.spool._close_reading, self.ring.close, self.file.unlock):
            close()
        self.sender.bell.close()
        self.alive = False

    def _tear_spool(self) -> None:
        waiting = [batch for batch in self.backlog.flow.queue if isinstance(batch.source, RingRange)]
        if waiting and self.spool._writing is not None:
            with self.ring.view(waiting[0].source) as view:
                entry = spoolfile.entry(waiting[0].first_seq, waiting[0].count, view)
            os.write(self.spool._writing, entry[: len(entry) // 2])
