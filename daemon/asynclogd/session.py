"""One stream as the daemon sees it: its flow, its peer, and whether it waits for the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from asynclog_proto.flow import ReceiveFlow
from asynclog_proto.frames import Hello
from asynclog_proto.limits import MAX_CAUSES
from asynclogd.entries import Stream

OTHER = "other"
"""Stands for all causes of drops that are too many."""


@dataclass(slots=True)
class Wait:
    """A stream waits until its records before `next_seq`, of steps up to `step`, are in the local backends; with
    `step` None until all of it is, its end included.
    """

    next_seq: int
    step: int | None
    target: int | None = None
    """the item that the local backends must have, once it is known"""


@dataclass(slots=True)
class Session:
    """`peer` is the ZeroMQ identity to answer to, None when nobody is connected; times are monotonic seconds."""

    stream: Stream
    flow: ReceiveFlow
    peer: bytes | None = None
    heard: float = 0.0
    step: int = -1
    gone: bool = False
    """it is over, and its files have gone: nobody need look for them again"""
    waits: list[Wait] = field(default_factory=list)
    refused: str | None = None
    issued: int = 0
    log_times: tuple[float | None, float | None] = (None, None)
    """p50 and p99 of its log(), s, as it said last"""
    dropped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, stream: Stream) -> Session:
        """The session of a journaled stream, nobody connected."""
        flow = ReceiveFlow(next_seq=stream.next_seq, committed=stream.next_seq)
        return cls(stream, flow, issued=stream.issued, dropped=dict(stream.dropped))

    @property
    def live(self) -> bool:
        """Whether more may come from it."""
        return self.stream.state == "live"

    @property
    def ring(self) -> Path | None:
        """The ring on this node, when it has one."""
        return Path(self.stream.ring) if self.stream.ring else None

    @property
    def spool(self) -> Path | None:
        """The directory of spool segments on this node, when it has one."""
        return Path(self.stream.spool) if self.stream.spool else None

    @property
    def over(self) -> bool:
        """Whether all that it will ever have is journaled. What a dead one left is in its ring until it is buried."""
        if self.live or self.refused is not None or self.flow.committed != self.flow.next_seq:
            return False
        return self.stream.state == "ended" or self.ring is None or not self.ring.exists()

    def row(self) -> Stream:
        """The stream as it is to be journaled: a copy, for another thread reads it."""
        return replace(self.stream, issued=self.issued, dropped=dict(self.dropped))

    def count(self, issued: int, dropped: dict[str, int]) -> None:
        """What the client says of itself; never less than it said before."""
        self.issued = max(self.issued, issued)
        for cause, count in dropped.items():
            if cause not in self.dropped and len(self.dropped) >= MAX_CAUSES:
                cause = OTHER  # noqa: PLW2901 - one that is known already
            self.dropped[cause] = max(self.dropped.get(cause, 0), count)


def new_stream(number: int, hello: Hello, began: float = 0.0) -> Stream:
    """The stream that a first hello opens."""
    return Stream(
        id=number,
        rank=hello.rank,
        world_size=hello.world_size,
        incarnation=hello.incarnation,
        launch=hello.launch,
        host=hello.host,
        pid=hello.pid,
        ring=hello.ring,
        spool=hello.spool,
        outbox=hello.outbox,
        began=began,
    )
