"""Where media bodies go: into their record, the outbox, the spool, or nowhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from asynclog._media.form import Form
from asynclog._media.laying import flat
from asynclog.mediaspool import MediaSpool
from asynclog.outbox import Outbox
from asynclog_proto import places
from asynclog_proto.media import INLINE_BYTES, Place

SHARE_OF_FREE = 4
"""The outbox takes at most a quarter of what its file system has free: others share memory there too."""

LEAST_OUTBOX = 1 << 20

NO_ROOM = "media have no room, for the daemon is behind or away"
TOO_FAR = (
    f"over TCP media larger than {INLINE_BYTES} bytes do not travel (log them on a rank of the daemon's machine, or in "
    "a run of mode='offline' in a directory that both machines see: `asynclog sync` delivers it)"
)
BY_PATH = (
    "over TCP files do not travel by their path, which on the daemon's machine is another file's or none's (log them "
    f"with copy=True, up to {INLINE_BYTES} bytes; larger ones on a rank of its machine, or with copy=True in a "
    "run of mode='offline' in a directory that both machines see: `asynclog sync` delivers it)"
)


def nowhere() -> Bodies:
    """Of a run that has neither outbox nor spool: small bodies are taken, in their records."""
    return Bodies(None, 0, MediaSpool(Path(), 0, _unheard), _unheard)


def _unheard(_: str) -> None:
    """Nothing is lost that anybody waits for."""


class Bodies:
    """`path` is the outbox's, None where there is to be none; `capacity` is its size in bytes, where there is room.

    What does not fit goes to the spool. `put` and `take_back` are for the only writer, the rest for the sender.
    """

    def __init__(
        self, path: Path | None, capacity: int, spool: MediaSpool, tell: Callable[[str], None], *, far: bool = False
    ) -> None:
        """`far`: the daemon is on another machine, and has nothing but the records."""
        self.spool = spool
        self.capacity = capacity
        self._path = path if capacity else None
        self._tell = tell
        self._far = far
        self.outbox: Outbox | None = None
        """once a body has been put there"""

    def put(self, form: Form) -> bytes | Place | None:
        """Copy a body; where it is, or itself when it is small. None when it is not taken: `why_not` tells."""
        if self._far and _is_by_path(form):
            return None
        size = form.size
        if size <= INLINE_BYTES:
            return b"".join(map(flat, form.parts))
        if self._far:
            return None
        if self._path is not None and size <= self.capacity:
            outbox = self._opened(self._path)
            place = None if outbox is None else outbox.put(form.parts, size)
            if place is not None:
                return place
        return self.spool.put(form.parts, size)

    def why_not(self, form: Form) -> str:
        """Why a body is not taken, for a person."""
        if not self._far:
            return NO_ROOM
        return BY_PATH if _is_by_path(form) else TOO_FAR

    def take_back(self, body: bytes | Place) -> None:
        """Forget the body that was put last."""
        if isinstance(body, Place):
            if body.file:
                self.spool.take_back(body)
            elif self.outbox is not None:
                self.outbox.take_back(body)

    def free(self, position: int) -> None:
        """The daemon needs nothing of the outbox before `position`. Has its next pages ready, too."""
        if self.outbox is not None:
            self.outbox.free(position)
            self.outbox.grow()

    @property
    def used(self) -> int:
        """Bytes of the outbox that are not free."""
        return 0 if self.outbox is None else self.outbox.used

    def leave(self, *, needed: bool, spooled: bool) -> None:
        """The stream ends. The outbox goes when nothing of it is needed, and moves to the spool when records there name
        places in it; else it stays for the daemon, which removes it. Raises OSError when it can't move, and stays.
        """
        outbox = self.outbox
        if outbox is None:
            return
        if not needed or not outbox.used:
            outbox.remove()
        elif spooled:
            outbox.move_to(places.spooled_outbox_path(self.spool.directory))

    def close(self) -> None:
        """Close the files; they stay as they are."""
        self.spool.close()
        self._path = None
        outbox, self.outbox = self.outbox, None
        if outbox is not None:
            outbox.close()

    def _opened(self, path: Path) -> Outbox | None:
        if self.outbox is None:
            try:
                self.outbox = Outbox(path, self._room(path))
            except OSError as error:
                self._path = None
                self._tell(f"no outbox for media in {path.parent}: {error.strerror or error}. They go to the spool")
                return None
            self.capacity = self.outbox.capacity
        return self.outbox

    def _room(self, path: Path) -> int:
        """The outbox's size, less than was asked for where memory is short."""
        with contextlib.suppress(OSError):
            status = os.statvfs(path.parent)
            free = status.f_bavail * status.f_frsize // SHARE_OF_FREE
            return min(self.capacity, max(free, LEAST_OUTBOX))
        return self.capacity


def _is_by_path(form: Form) -> bool:
    """Whether it is a file whose bytes stay where they are."""
    return form.kind == "file" and not form.parts
