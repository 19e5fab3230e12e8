"""What the stages of delivery share: fan-out makes sinks, a sink has a limiter, reads items and tells how it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from asynclogd.entries import Cursor, DeadLetter
from asynclogd.points import Item, Media, Points

CursorMoved = Callable[[str, Cursor, list[DeadLetter], bool], None]
"""Told (backend, cursor, dead letters that the cursor has passed, surely) after each flush, from the sink's thread.
All of one call belong in one transaction. When it raises, it is called again. `surely`: it is journaled when the call
returns, else soon after. A cursor without a position means that the backend starts over."""


class BrokenError(Exception):
    """The backend says for good that it can't be opened, or its code gives a position that can't be journaled."""


class ItemLog(Protocol):
    """A run's items in one order, offsets 1, 2, 3, ... Any thread may read."""

    @property
    def last_offset(self) -> int:
        """The offset of the newest item, 0 when there is none."""

    def read(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """(offset, item) of the items after `after`: about `max_bytes` of them, at least one if there is one."""


class Limiter(Protocol):
    """Thins points. What goes in comes out, is counted as limited, or is held until more comes or it is flushed."""

    @property
    def limited(self) -> int:
        """Logged values left out since it was made or restored."""

    @property
    def held(self) -> int:
        """Logged values in points that are held."""

    def shows(self, media: Media) -> bool:
        """Whether a media item goes out; media are never held."""

    def shape(self, points: Points) -> list[Points]:
        """What is due now."""

    @property
    def due(self) -> float:
        """When something that is held is to go out if nothing more comes, s since the epoch; infinite for never."""

    @property
    def patience(self) -> float:
        """For how long, in s, that is held at most, whatever the clocks say."""

    def flush(self, until: float = ...) -> list[Points]:
        """What is held: all of it, or what is due at `until`."""

    def state(self) -> bytes:
        """Everything that `restore` needs."""

    def restore(self, state: bytes) -> None:
        """Go on from a state (b"" for the beginning), with `limited` at 0. Raises ProtocolError."""


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Times in seconds."""

    flush_interval: float = 0.1
    """items wait at most so long for others to share a write and a flush"""
    batch_bytes: int = 1 << 20
    first_retry: float = 0.2
    longest_retry: float = 30.0
    """retries double from the first to the longest, each shortened at random by up to a half"""
    points_per_second: float = float("inf")
    """of all series together; those that are too many wait"""
    timeout: float = 300.0
    """a call of the backend that takes longer hangs: that is told, for no thread can be ended"""
    quiet: float = 5.0
    """after so long without a new item, what the rate limit holds goes out as soon as its bucket is over"""


SinkState = Literal["ok", "retrying", "broken", "hanging", "closed"]
"""`broken`: the backend says for good that it can't be opened, or gives a position that can't be journaled (it is still
tried, at the longest interval).
`hanging`: a call of it takes longer than `SinkSettings.timeout`."""


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How a sink is: one moment's picture."""

    state: SinkState
    cursor: Cursor
    lag: int
    """items that are not durable in the backend yet"""
    held: int = 0
    """logged values that the rate limit holds, of the items up to the cursor"""
    retries: int = 0
    """since it last went well"""
    failures: int = 0
    """in all"""
    error: str = ""
    """the last one"""
    trouble: str = ""
    """what goes wrong now that no call has raised"""
    dead_letters: int = 0
    """in this process"""
    unsupported: int = 0
    """items of kinds that the backend does not show, in this process"""
    started_over: int = 0
    """how often the backend could not go on from its position, in this process"""
    call: str = ""
    """the call of the backend that is going on, "" for none"""
    call_seconds: float = 0.0
    """for how long"""
    timeouts: int = 0
    """calls that took longer than they may, the one that is going on too, in this process"""
    retry_in: float = 0.0
    """s until it is tried again, where that is waited for"""
    window: int = 0
    """bytes of items that a cycle may send since the service was throttled, 0 where nothing limits it"""
