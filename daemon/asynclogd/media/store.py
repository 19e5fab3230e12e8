"""A run's media store: blobs of all kinds end to end in a few large files, equal ones once.

    <run>/media/<n>.seg, n from 1:  entries end to end
    entry   magic "ALMB", crc32c of the data, size (u64), BLAKE2b-128 of the data, crc32c of these 32 bytes; the data

Integers are little-endian. A Blob's offset is where its data begin, so that a reader needs no more than file, offset
and size. The journal knows every blob that counts: an entry that it does not know was written just before a crash, and
is found again by its digest. An entry that was cut short at the end of the last file is cut off.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from pathlib import Path

import google_crc32c

from asynclog_proto.errors import ProtocolError
from asynclogd.disk import sync_directory, write_at
from asynclogd.points import Blob

MAGIC = b"ALMB"
SEGMENT_BYTES = 64 << 20
"""A file is not begun anew before it holds so many."""

MOST_KNOWN = 100_000
"""Newest blobs whose digests are remembered: an equal one that comes later than that is stored again."""

_HEAD = struct.Struct("<4sIQ16s")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size


class MediaStore:
    """The store of one run; one process owns it, that of the run's journal. Any thread may call."""

    def __init__(self, directory: Path, *, fsync: bool = False) -> None:
        """Nothing is read or made before the first `append`. `fsync`: a blob survives power loss."""
        self._directory, self._fsync = directory, fsync
        self._lock = threading.Lock()
        self._known: dict[str, Blob] | None = None
        self._number = self._end = 0
        self._fd = -1
        self._closed = False

    def append(self, data: bytes | memoryview) -> Blob:
        """Store bytes, or find those that are equal. Raises OSError, and then nothing has been stored."""
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        crc = google_crc32c.value(bytes(data))
        with self._lock:
            if self._closed:
                raise OSError("the media store is closed")
            if self._known is None:
                self._open()
                assert self._known is not None
            known = self._known.get(digest)
            return known if known is not None else self._append(data, digest, crc)

    def read(self, blob: Blob) -> bytes:
        """The bytes of a blob. Raises ProtocolError when they are not those that were stored, or gone; OSError."""
        try:
            with self._path(blob.segment).open("rb") as file:
                file.seek(blob.offset - HEAD_BYTES)
                found = file.read(HEAD_BYTES + blob.size)
        except FileNotFoundError as error:
            raise ProtocolError(f"blob {blob.digest}: {self._path(blob.segment)} is gone") from error
        data = found[HEAD_BYTES:]
        head = _read_head(found)
        if head is None or len(data) != blob.size or head[1:] != (blob.size, blob.digest) or head[0] != _crc(data):
            raise ProtocolError(f"blob {blob.digest} at {blob.offset} of {self._path(blob.segment)} is spoiled")
        return data

    @property
    def bytes_used(self) -> int:
        """Bytes of all its files."""
        return sum(path.stat().st_size for path in self._directory.glob("*.seg"))

    def close(self) -> None:
        """Let go of the file; `append` is refused from here on. Idempotent."""
        with self._lock:
            self._closed = True
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)  # it is let go of, even when that raises

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.seg"

    def _open(self) -> None:
        """Learn the newest blobs, cut what is torn, and go on in the last file."""
        self._directory.mkdir(mode=0o755, exist_ok=True)
        numbers = sorted(int(path.stem) for path in self._directory.glob("*.seg") if path.stem.isdecimal())
        number, end = (numbers[-1], None) if numbers else (1, 0)
        known: list[list[Blob]] = []
        for each in reversed(numbers):
            blobs, goes_on = _scan(self._path(each), each)
            known.append(blobs)
            end = goes_on if each == number else end
            if sum(map(len, known)) >= MOST_KNOWN:
                break
        self._begin(*((number + 1, 0) if end is None else (number, end)))
        self._known = {blob.digest: blob for blobs in reversed(known) for blob in blobs}

    def _begin(self, number: int, end: int = 0) -> None:
        fd = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        before, self._fd = self._fd, fd
        if before >= 0:
            os.close(before)
        os.ftruncate(fd, end)
        if self._fsync:
            sync_directory(self._directory)
        self._number, self._end = number, end  # not before: after an error all of this is done again

    def _append(self, data: bytes | memoryview, digest: str, crc: int) -> Blob:
        assert self._known is not None
        if self._end >= SEGMENT_BYTES:
            self._begin(self._number + 1)
        head = _HEAD.pack(MAGIC, crc, len(data), bytes.fromhex(digest))
        write_at(self._fd, head + _CRC.pack(_crc(head)), self._end)
        write_at(self._fd, data, self._end + HEAD_BYTES)
        if self._fsync:
            os.fdatasync(self._fd)
        blob = Blob(digest, self._number, self._end + HEAD_BYTES, len(data))
        self._end = blob.offset + blob.size
        self._known[digest] = blob
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return blob


def _crc(data: bytes) -> int:
    return int(google_crc32c.value(data))


def _read_head(data: bytes) -> tuple[int, int, str] | None:
    """Checksum, size and digest of an entry; None when that is not the head of one."""
    if len(data) < HEAD_BYTES or _CRC.unpack_from(data, _HEAD.size)[0] != _crc(data[: _HEAD.size]):
        return None
    magic, crc, size, digest = _HEAD.unpack_from(data)
    return (crc, size, digest.hex()) if magic == MAGIC else None


def _scan(path: Path, number: int) -> tuple[list[Blob], int | None]:
    """The entries of a file up to the first that is not whole, and where it can be gone on with; None when what comes
    there is no entry that was cut short: something is spoiled, and what lies behind that must stay.
    """
    blobs: list[Blob] = []
    length, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + HEAD_BYTES <= length:
            file.seek(at)
            head = _read_head(file.read(HEAD_BYTES))
            if head is None:
                return blobs, None
            crc, size, digest = head
            end = at + HEAD_BYTES + size
            if end > length:
                break
            # When power is lost, a file may have its length before its content: the last entry's data are looked at.
            if end == length and _crc(file.read(size)) != crc:
                return blobs, None
            blobs.append(Blob(digest, number, at + HEAD_BYTES, size))
            at = end
    return blobs, at
