"""Where the body of a media item lies, and reading it: from files that another process made and may change or remove.

File 0 of a place is the stream's outbox, or `media.outbox` in its spool, where a rank that ends without a daemon leaves
it; file n is the spool's `media-<n>.seg`. A file is read and never mapped: one that is cut under a mapping kills.

A rank whose spool is at its cap removes the oldest file, after it has said in `media.dropped` up to which it has.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from asynclog_proto import outboxfile, places
from asynclog_proto.errors import ProtocolError
from asynclog_proto.media import Place
from asynclogd.media.forms import DroppedError, UnfitError

LONGEST_NUMBER = 20
"""Digits of a file's."""


def candidates(place: Place, outbox: str, spool: str) -> list[str]:
    """The paths where a body may be, the likeliest first; `outbox` and `spool` are the stream's, "" for none."""
    if place.file:
        return [str(places.media_path(Path(spool), place.file))] if spool else []
    return [*([outbox] if outbox else []), *([str(places.spooled_outbox_path(Path(spool)))] if spool else [])]


def read(paths: Sequence[str], place: Place) -> bytearray:
    """A body, from the first of the files that is there. Raises DroppedError when the rank has dropped it, UnfitError
    when it can't be had for another reason.
    """
    for path in paths:
        try:
            fd = _open(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnfitError(f"its body can't be read: {error}") from error
        try:
            return _read(fd, path, place)
        except ProtocolError as error:
            raise UnfitError(f"its body can't be read: {path}: {error}") from error
        except OSError as error:
            raise UnfitError(f"its body can't be read: {path}: {error.strerror or error}") from error
        finally:
            os.close(fd)
    if place.file and any(place.file <= _dropped(path) for path in paths):
        raise DroppedError
    where = ", ".join(paths) or "the rank named no place"
    raise UnfitError(f"its body is gone: {where} (deleted, or left on another machine?)")


def _open(path: str | Path) -> int:
    # NONBLOCK: whoever puts a FIFO there would have us wait for a writer.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _dropped(path: str) -> int:
    """The last of the files beside this one that the rank says it has dropped, 0 when it says nothing."""
    try:
        fd = _open(places.media_dropped_path(Path(path).parent))
    except OSError:
        return 0
    try:
        text = os.read(fd, LONGEST_NUMBER)
    except OSError:
        return 0
    finally:
        os.close(fd)
    return int(text) if text.isdigit() else 0


def _read(fd: int, path: str, place: Place) -> bytearray:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UnfitError(f"its body can't be read: {path} is not a file")
    if status.st_uid != os.getuid():
        raise UnfitError(f"its body can't be read: {path} belongs to user {status.st_uid}")
    begin = place.offset
    if place.file == 0:
        capacity = outboxfile.capacity_of(os.pread(fd, outboxfile.HEADER, 0))
        begin = outboxfile.at(place, capacity)
    if begin + place.size > status.st_size:
        raise UnfitError(f"its body is gone: {path} ends at {status.st_size}, before {begin + place.size}")
    body = bytearray(place.size)
    view, done = memoryview(body), 0
    while done < place.size:
        count = os.preadv(fd, [view[done:]], begin + done)
        if not count:
            raise UnfitError(f"its body is gone: {path} was cut while it was read")
        done += count
    return body
