"""A position as the journal gives it back. It shares a commit with all that the run has, which one that can't be
journaled would end for every rank and backend.
"""

from __future__ import annotations

from collections.abc import Mapping

from asynclog_proto.errors import ProtocolError
from asynclogd.backends.base import Position
from asynclogd.delivery import BrokenError
from asynclogd.entries import Cursor
from asynclogd.journalrows import pack_cursor, read_cursor

_ACCEPTED = "return a dict of plain int, float, bool, None, str, bytes, lists and dicts of these, with str as keys"


def as_journaled(position: object) -> Position:
    """What `flush` returned, in a copy. Raises BrokenError for what the journal can't hold."""
    if not isinstance(position, Mapping):  # None would be taken for the run's beginning later
        raise BrokenError(f"flush() returned {type(position).__name__}, no position: {_ACCEPTED}")
    try:
        kept = read_cursor(pack_cursor(Cursor(position=position))).position
    except ProtocolError as error:
        raise BrokenError(f"flush() returned a position that can't be journaled ({error}): {_ACCEPTED}") from error
    return {} if kept is None else kept
