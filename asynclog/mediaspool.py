"""Media bodies on disk, for when the outbox has no room or there is no daemon: end to end, in files of FILE_BYTES.

At the cap the oldest file goes: the latest samples are worth more. The daemon has the records of what was in it, and
learns from `media.dropped`, the number of the last such file, that their bodies were dropped and are not lost. That is
replaced whole, and before the file goes: whoever reads the one finds the body in the other, whenever we die.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from asynclog._media.form import Part
from asynclog._media.laying import flat, write_at
from asynclog_proto import places
from asynclog_proto.media import Place

FILE_BYTES = 32 << 20
"""A file that has grown to this is followed by the next one; one larger body has a file of its own."""

FILES_AT_LEAST = 8
"""Under a small cap files are smaller, as many as this: one file's media are what is dropped at once."""


class MediaSpool:
    """`cap` is in bytes, over all files that the daemon has not removed; `tell` hears what is dropped at it, and why
    nothing is taken.
    """

    def __init__(self, directory: Path, cap: int, tell: Callable[[str], None]) -> None:
        self.directory = directory
        self._cap = cap
        self._file_bytes = min(FILE_BYTES, cap // FILES_AT_LEAST)
        self._named_cap = f"ASYNCLOG_MEDIA_SPOOL_MB={cap / (1 << 20):.10g}"
        self._tell = tell
        self._sizes: dict[int, int] = {}
        self._number = 0
        self._writing: int | None = None

    @property
    def size(self) -> int:
        """Bytes on disk, as far as is known: files that the daemon has removed are missed at the cap."""
        return sum(self._sizes.values())

    def put(self, parts: Sequence[Part], size: int) -> Place | None:
        """Write a body of `size` bytes; the oldest are dropped where the cap asks for it. None when it is larger than
        the cap, or the disk does not take it.
        """
        if size > self._cap:
            if self._cap:
                self._tell(f"media larger than {self._named_cap} are not spooled")
            return None
        try:
            self._make_room(size)
            descriptor = self._current(size)
            offset = self._sizes[self._number]
            self._write(descriptor, parts, offset)
        except OSError as error:
            self._tell(f"can't spool media to {self.directory}: {error.strerror or error}")
            return None
        self._sizes[self._number] = offset + size
        return Place(self._number, offset, size)

    def take_back(self, place: Place) -> None:
        """Forget the body that was put last: no record names it."""
        if self._writing is not None and place.file == self._number:
            with contextlib.suppress(OSError):
                os.ftruncate(self._writing, place.offset)
                self._sizes[self._number] = place.offset

    def close(self) -> None:
        """Close the file. Idempotent."""
        descriptor, self._writing = self._writing, None
        if descriptor is not None:
            os.close(descriptor)
            if not self._sizes.get(self._number, 1):
                with contextlib.suppress(OSError):
                    places.media_path(self.directory, self._number).unlink()

    # ---- the cap ------------------------------------------------------------------------------------------------

    def _make_room(self, size: int) -> None:
        if self.size + size > self._cap:
            self._forget_removed()
        while self.size + size > self._cap:
            self._drop(min(self._sizes))

    def _forget_removed(self) -> None:
        for number in list(self._sizes):
            if not places.media_path(self.directory, number).exists():
                del self._sizes[number]

    def _drop(self, number: int) -> None:
        """Away with a file, the oldest. Raises OSError when that can't be said; then it stays."""
        text = f"the media in {self.directory} are at their cap, {self._named_cap}: the oldest are dropped, counted as"
        self._tell(f"{text} media_full, while the daemon is behind or away. Log fewer, or raise the cap")
        if number == self._number:
            self.close()
        if self._sizes[number]:
            self._say_dropped(number)
        with contextlib.suppress(FileNotFoundError):
            places.media_path(self.directory, number).unlink()
        del self._sizes[number]

    def _say_dropped(self, number: int) -> None:
        path = places.media_dropped_path(self.directory)
        part = path.with_name(path.name + ".part")
        part.touch(0o600)
        part.write_text(str(number))
        part.replace(path)

    # ---- files --------------------------------------------------------------------------------------------------

    def _current(self, size: int) -> int:
        """The file that takes the next `size` bytes."""
        written = self._sizes.get(self._number, 0)
        full = written > 0 and written + size > self._file_bytes
        if self._writing is None or full or os.fstat(self._writing).st_nlink == 0:
            self.close()
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._writing = os.open(places.media_path(self.directory, self._number + 1), flags, 0o600)
            self._number += 1
            self._sizes[self._number] = 0
        return self._writing

    def _write(self, descriptor: int, parts: Sequence[Part], offset: int) -> None:
        """At `offset`, over what an earlier failure left there."""
        for part in parts:
            write_at(descriptor, flat(part), offset)
            offset += part.size
