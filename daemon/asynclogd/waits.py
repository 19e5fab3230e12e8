"""Who waits until what it said is in the local backends: a stream that ends, and streams that flush and go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asynclogd.session import Session, Wait
from asynclogd.store import Wanted

MAX_FLUSHES = 64
"""Flushes of one stream that wait at once; the oldest is forgotten for a new one, and asked again if need be."""


@dataclass(frozen=True, slots=True)
class Places:
    """The newest item, and the last one that every local backend has."""

    newest: int
    delivered: int


def finish(session: Session) -> None:
    """The stream has ended, and waits for all of it."""
    if not any(wait.step is None for wait in session.waits):
        session.waits.append(Wait(0, None))


def flush(session: Session, next_seq: int, step: int) -> None:
    """The stream waits for its records before `next_seq`, which are of steps up to `step`; a flush asked again is the
    same.
    """
    if any((wait.next_seq, wait.step) == (next_seq, step) for wait in session.waits):
        return
    flushes = [wait for wait in session.waits if wait.step is not None]
    if len(flushes) >= MAX_FLUSHES:
        session.waits.remove(flushes[0])
    session.waits.append(Wait(next_seq, step))


def wanted(session: Session) -> list[Wanted]:
    """What has to be known of the reducer for this session's waits to go on."""
    return [(session.stream.id, wait.step) for wait in session.waits if wait.target is None]


def advance(
    session: Session, open_values: Mapping[Wanted, int], places: Callable[[], Places], hurry: Callable[[], None]
) -> list[Wait]:
    """Let the waits go on. Returns those that are over; `hurry` has the local backends flush."""
    over = []
    for wait in list(session.waits):
        if wait.target is None and _is_in(session, wait) and open_values.get((session.stream.id, wait.step), 1) == 0:
            wait.target = places().newest
            hurry()
        if wait.target is not None and places().delivered >= wait.target:
            session.waits.remove(wait)
            over.append(wait)
    return over


def _is_in(session: Session, wait: Wait) -> bool:
    """Whether all that the wait is for is journaled."""
    if wait.step is None:
        return session.stream.state == "ended"
    return session.flow.committed >= wait.next_seq
