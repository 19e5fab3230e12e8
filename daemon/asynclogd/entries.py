"""What one commit of a run's journal holds. Shared by the stages that make it and the journal that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from asynclogd.points import Item


class Cause(IntEnum):
    """What made an input."""

    BATCH = 1
    """records of a stream, as they came"""
    JOIN = 2
    """a stream joined, or a later process of its rank has; payload: MessagePack of its rank, world size and
    launch, of the cap on names where it is not the default, and of `past` when a later process of its rank had come
    """
    LEAVE = 3
    """a stream's process died or went silent; payload: nothing, or PAST when a later process of its rank had come"""
    TICK = 4
    """nothing but time passed, and a deadline with it"""
    MEDIA = 5
    """the encoders are done with record `first_seq` of a stream; payload: media/pending.py"""


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that happened to a run. The reducer's state is a function of the sequence of these."""

    cause: Cause
    stream: int = 0
    first_seq: int = 0
    count: int = 0
    payload: bytes = b""
    now: float = 0.0
    """the run's clock, s: it stands still while no daemon has the run open, and only ever goes forward"""


@dataclass(slots=True)
class Stream:
    """One rank's records in one incarnation. `id` numbers it within its run's journal."""

    id: int
    rank: int
    world_size: int
    incarnation: str
    launch: str
    host: str
    pid: int
    ring: str
    spool: str
    next_seq: int = 0
    """the first record that is not journaled"""
    state: str = "live"
    """live, ended (said END) or dead"""
    issued: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    """records that went away: with a journal that had acked them, or from a spool"""
    outbox: str = ""
    began: float = 0.0
    """when it came, s since the epoch: it said hello, or logged the first row that it left; 0 in older journals"""
    afar: bool = False
    """it has said hello from another machine, once at least: a path that it names is none of this one's"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one backend has come: the last item that is durable in it, where it was then, and its counts."""

    offset: int = 0
    position: Mapping[str, Any] | None = None
    limiter: bytes = b""
    delivered: int = 0
    """logged values that its points account for"""
    limited: int = 0
    """logged values that the rate limit left out"""
    dead: int = 0
    """logged values of dead-lettered items"""
    points: int = 0
    """points written"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that a backend refused for good."""

    backend: str
    offset: int
    reason: str


@dataclass(slots=True)
class Commit:
    """One transaction of the journal: what came in, what came out of it, and how far the sinks are."""

    inputs: list[Input] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """run-level facts to set (world size, backends, status, ...), MessagePack-able"""
    snapshot: bytes | None = None
    """the reducer's state after the last of `inputs`"""
