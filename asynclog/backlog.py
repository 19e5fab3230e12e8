"""What is not acked: the flow's queue, with the oldest batches in the spool and the rest in the ring."""

from __future__ import annotations

from asynclog.ring import Ring, RingRange
from asynclog.spool import Spool, SpoolRange
from asynclog_proto.flow import Pending, SendFlow

BATCH_BYTES = 64 << 10


class Backlog:
    """Moves batches from the ring into the flow, to the spool when need be, and forgets what is acked."""

    def __init__(self, ring: Ring, spool: Spool) -> None:
        self.flow = SendFlow()
        self._ring = ring
        self._spool = spool
        self._spooled = 0
        """how many of the queue's first batches are in the spool"""

    def collect(self) -> None:
        """Queue what was logged since the last call."""
        for batch in self._ring.take():
            if not self._join(batch):
                self.flow.offer(batch)

    def payload(self, batch: Pending) -> memoryview | bytes:
        """A batch's records. Raises OSError when the spool can't be read."""
        if isinstance(batch.source, SpoolRange):
            return self._spool.read(batch.source)
        return self._ring.view(batch.source)

    def forget(self, acked: list[Pending]) -> None:
        """Free the room of batches that are journaled, the oldest of all."""
        if not acked:
            return
        self._spooled -= min(self._spooled, len(acked))
        last = acked[-1]
        if isinstance(last.source, RingRange):
            self._ring.free(last.source.end, last.next_seq)
        self._spool.release(self.flow.acked_seq)

    def spill(self, most_in_ring: int) -> bool:
        """Move the ring's oldest batches to the spool until it holds at most `most_in_ring` bytes.

        False when the spool does not take them.
        """
        while self._ring.used > most_in_ring and self._spooled < len(self.flow.queue):
            batch = self.flow.queue[self._spooled]
            taken: RingRange = batch.source
            with self._ring.view(taken) as view:
                place = self._spool.append(batch.first_seq, batch.count, view)
            if place is None:
                return False
            batch.source = place
            self._spooled += 1
            self._ring.free(taken.end, batch.next_seq)
        return True

    @property
    def next_seq(self) -> int:
        """The number after the newest record that was collected."""
        return self.flow.queue[-1].next_seq if self.flow.queue else self.flow.first_seq

    @property
    def in_ring(self) -> bool:
        """Whether a queued batch is in the ring alone."""
        return self._spooled < len(self.flow.queue)

    def let_go(self) -> None:
        """Forget the queue without an ack: what is spooled is someone else's to send. The ring is untouched."""
        for _ in range(self._spooled):
            self.flow.queue.popleft()
        self._spooled = self.flow.in_flight = self.flow.in_flight_bytes = 0

    def _join(self, batch: Pending) -> bool:
        """Make `batch` a part of the last one, where that was not sent and follows on: a batch a tick is small."""
        queue = self.flow.queue
        if len(queue) <= max(self.flow.in_flight, self._spooled):
            return False
        last = queue[-1]
        apart = last.source.end != batch.source.start or batch.source.start % self._ring.capacity == 0
        if apart or last.size + batch.size > BATCH_BYTES:
            return False
        last.count += batch.count
        last.size += batch.size
        last.source = RingRange(last.source.start, batch.source.end)
        return True
