"""The crash-safe buffer between `log()` and the sender: one writer at a time (the run's lock), one taker.

The format is asynclog_proto.ringfile's. The hot path in writer.py writes a row at `place` when it ends by `limit`,
then publishes it; whatever else there is to do (a mark, the lap's end, waiting for room) begins where `limit` ends, so
that a row costs one comparison. The taker never takes the run's lock: it reads (base, place, seq) and the writer
stores them with no call in between, where CPython neither switches threads nor runs signal handlers.
"""

from __future__ import annotations

import mmap
import threading
import time
from array import array
from collections import deque
from typing import NamedTuple

from asynclog.writer import Writer
from asynclog_proto.flow import Pending
from asynclog_proto.records import PAD
from asynclog_proto.ringfile import DROPPED, DROPS, HEAD, HEADER, ISSUED, SELECTOR, TAILS

MARK_BYTES = 256 << 10
PATIENCE_S = 0.1
HEAD_WORD, SELECTOR_WORD, ISSUED_WORD, DROPPED_WORD = HEAD // 8, SELECTOR // 8, ISSUED // 8, DROPPED // 8
_TAIL_WORDS = tuple(tail // 8 for tail in TAILS)


class RingRange(NamedTuple):
    """Whole records of one lap, from position `start` to position `end`."""

    start: int
    end: int


class Ring:
    """A ring over `file`, a fresh mapping that begins with the header."""

    __slots__ = (
        "_counting", "_file", "_mark_bytes", "_marked", "_marks", "_patience", "_room", "_tail", "_taken", "_waiting",
        "_wrapping",
        "capacity", "data", "waits", "words", "writer",
    )  # fmt: skip

    def __init__(self, file: mmap.mmap) -> None:
        self._file = file
        self.data = memoryview(file)
        self.words: memoryview | array[int] = self.data[:HEADER].cast("Q")
        self.capacity = len(file) - HEADER
        self.writer = Writer(file, HEADER)
        self.writer.wake = lambda: None
        self.waits = 0
        self._mark_bytes = min(MARK_BYTES, self.capacity // 8)
        self._marked = HEADER
        self._marks: deque[tuple[int, int, int]] = deque()
        self._taken = (0, 0)
        self._tail = 0
        self._patience = PATIENCE_S
        self._waiting = False
        self._wrapping = False
        self._room = threading.Event()
        self._counting = threading.RLock()

    # ---- the writer ---------------------------------------------------------------------------------------------

    def append(self, record: bytes, *, wait: bool = True) -> bool:
        """Write and publish one record; False when there is no room for it."""
        size = len(record)
        writer = self.writer
        if writer.place + size > writer.limit and not self.reserve(size, wait=wait):
            return False
        place = writer.place
        self.data[place : place + size] = record
        self.publish(place + size)
        return True

    def publish(self, place: int, count: int = 1) -> None:
        """The next `count` records are whole; the last ends at `place`."""
        writer = self.writer
        writer.place, writer.seq = place, writer.seq + count  # one line: a tracer may let the taker in between two
        self.words[HEAD_WORD] = writer.base + place
        self.rouse()

    def rouse(self) -> None:
        """There is something to do for the sender, should it be asleep."""
        if self.writer.asleep:
            self.writer.asleep = False
            self.writer.wake()

    def reserve(self, size: int, *, wait: bool = True) -> bool:
        """Let a record of `size` bytes fit between `place` and `limit`; False when there is no room."""
        writer = self.writer
        lap_end = HEADER + self.capacity
        wraps = self._wrapping or writer.place + size > lap_end
        needed = size + (lap_end - writer.place if wraps else 0)
        if self.used + needed > self.capacity and not (wait and self._wait_for(needed)):
            return False
        if wraps:
            self._begin_lap(lap_end)
        elif writer.place > self._marked:
            self._mark(writer.base + writer.place)
        free = self.capacity - self.used
        writer.limit = min(lap_end, writer.place + free, max(self._marked + self._mark_bytes, writer.place + size))
        if self.used > self.capacity // 4:
            writer.wake()
        return True

    def _mark(self, next_start: int) -> None:
        writer = self.writer
        self._marks.append((writer.base + writer.place, writer.seq, next_start))
        self._marked = writer.place

    def _begin_lap(self, lap_end: int) -> None:
        """An exception of a signal's may end this after any call: until the last line nothing else fits, and the next
        record begins the lap again, to the same effect.
        """
        writer = self.writer
        writer.limit, self._wrapping = 0, True
        if writer.place < lap_end:
            self.data[writer.place] = PAD
        self._mark(writer.base + lap_end)
        self._marked = HEADER
        writer.base, writer.place, self._wrapping = writer.base + self.capacity, HEADER, False

    def _wait_for(self, needed: int) -> bool:
        """Wait for room; all calls together no longer than PATIENCE_S until some comes: a full ring costs once."""
        if self._patience > 0.0:
            self.waits += 1
        deadline = time.monotonic() + self._patience
        self._waiting = True
        while self.used + needed > self.capacity:
            left = deadline - time.monotonic()
            if left <= 0 or needed > self.capacity:
                self._patience = 0.0
                break
            self._room.clear()
            self.writer.wake()
            if self.used + needed > self.capacity:
                self._room.wait(left)
        self._waiting = False
        return self.used + needed <= self.capacity

    # ---- the taker ----------------------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes that are not free, padding included."""
        return self.writer.base + self.writer.place - self._tail

    @property
    def taken_seq(self) -> int:
        """The number of the next record that is taken."""
        return self._taken[1]

    def take(self) -> list[Pending]:
        """The records since the last call, in batches that no lap's end divides."""
        writer = self.writer
        base, place, seq = writer.base, writer.place, writer.seq
        head = base + place
        batches: list[Pending] = []
        while self._marks and self._marks[0][0] <= head:
            self._take_to(batches, *self._marks.popleft())
        self._take_to(batches, head, seq, head)
        return batches

    def _take_to(self, batches: list[Pending], end: int, seq: int, next_start: int) -> None:
        start, first = self._taken
        if seq > first:
            batches.append(Pending(first, seq - first, end - start, RingRange(start, end)))
        self._taken = (max(next_start, start), seq)

    def view(self, taken: RingRange) -> memoryview:
        """The bytes of a range, without a copy; to be released before `close`."""
        place = HEADER + taken.start % self.capacity
        return self.data[place : place + taken.end - taken.start]

    def free(self, position: int, seq: int) -> None:
        """Everything before `position` is elsewhere now; the record there has the number `seq`."""
        slot = 1 - (self.words[SELECTOR_WORD] & 1)
        self.words[_TAIL_WORDS[slot]] = position
        self.words[_TAIL_WORDS[slot] + 1] = seq
        self.words[SELECTOR_WORD] = slot
        self._tail = position
        self._patience = PATIENCE_S
        if self._waiting:
            self._room.set()

    # ---- counters and the end -----------------------------------------------------------------------------------

    @property
    def issued(self) -> int:
        """Values that were given to `log()`."""
        return self.writer.issued

    @property
    def dropped(self) -> dict[str, int]:
        """Values that never became a record, by cause."""
        return {cause: self.words[DROPPED_WORD + i] for i, cause in enumerate(DROPS)}

    def issue(self, count: int) -> None:
        """Count `count` values as given."""
        self.writer.issued += count
        self.tell_issued()

    def tell_issued(self) -> None:
        """Put the count into the header. The hot path leaves that to the sender: should the process die before, the
        ledger takes the records themselves for it.
        """
        self.words[ISSUED_WORD] = self.writer.issued

    def drop(self, cause: str, count: int) -> None:
        """Count `count` of the given values as lost to `cause`, one of DROPS; from any thread."""
        with self._counting:
            self.words[DROPPED_WORD + DROPS.index(cause)] += count

    def detach(self) -> None:
        """Count privately from here on: in a forked child, and before `close`."""
        self.words, shared = array("Q", bytes(self.words)), self.words
        self._room = threading.Event()
        self._counting = threading.RLock()
        self._waiting = False
        if isinstance(shared, memoryview):
            shared.release()

    def close(self) -> None:
        """Unmap the file; the counters can still be read. Raises BufferError while a view is out."""
        self.detach()
        self.writer.release()
        self.data.release()
        self._file.close()
