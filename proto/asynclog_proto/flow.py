"""Credit, ack and dedupe as pure state machines: no socket, no clock, no thread.

A stream is numbered records in batches. `SendFlow` holds what the daemon has not acked and says what may be
sent; `ReceiveFlow` says which records of a batch are new. Whatever the network loses, doubles or reorders,
and however often either side connects again, each record passes `ReceiveFlow` once, in order:

- the receiver takes only the record that it expects next; a batch ahead of it is a gap: reset, hello again;
- the sender forgets a batch only when it is acked, and after each welcome sends all the rest again;
- an ack or a welcome names what is journaled, and a daemon that restarts makes its `ReceiveFlow` anew with both
  numbers at what the journal holds: it never expects less than it acked.

What was taken and is not yet journaled is not taken again when a hello comes in between. Only `rollback` (the
journal threw it away) makes it expected anew.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from asynclog_proto.frozen import frozen


@dataclass(slots=True)
class Pending:
    """A batch that is not acked: `count` records from `first_seq`, `size` bytes, found at `source`."""

    first_seq: int
    count: int
    size: int
    source: Any = None

    @property
    def next_seq(self) -> int:
        """The number after the batch's last record."""
        return self.first_seq + self.count


class SendFlow:
    """The client's side: an ordered queue, of which the first `in_flight` batches have been sent."""

    def __init__(self) -> None:
        self.queue: deque[Pending] = deque()
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.credit = 0
        self.open = False
        self.acked_seq = 0

    def offer(self, batch: Pending) -> None:
        """Take a new batch, the successor of the last one."""
        self.queue.append(batch)

    def welcome(self, next_seq: int, credit: int) -> list[Pending]:
        """Open the stream (again): all that is not journaled goes out anew. Returns what can be freed."""
        self.open = True
        self.in_flight = self.in_flight_bytes = 0
        return self.ack(next_seq, credit)

    def ack(self, next_seq: int, credit: int) -> list[Pending]:
        """Everything before `next_seq` is journaled. Returns the batches that can be freed, oldest first."""
        self.credit = credit
        self.acked_seq = max(self.acked_seq, next_seq)
        freed = []
        while self.queue and self.queue[0].next_seq <= self.acked_seq:
            batch = self.queue.popleft()
            freed.append(batch)
            if self.in_flight:
                self.in_flight -= 1
                self.in_flight_bytes -= batch.size
        return freed

    def close(self) -> None:
        """The daemon is gone or forgot us: nothing goes out until the next welcome."""
        self.open = False

    def take(self) -> Pending | None:
        """The next batch to send, or None while closed, empty or out of credit.

        A batch larger than the whole credit goes out alone, or it never would.
        """
        if not self.open or self.in_flight >= len(self.queue):
            return None
        batch = self.queue[self.in_flight]
        if self.in_flight and self.in_flight_bytes + batch.size > self.credit:
            return None
        self.in_flight += 1
        self.in_flight_bytes += batch.size
        return batch

    @property
    def first_seq(self) -> int:
        """The oldest record that is still held, or the next one when none is."""
        return self.queue[0].first_seq if self.queue else self.acked_seq


@frozen
class Receipt:
    """What to do with a batch: skip its first `skip` records and take the rest, unless `take` is false."""

    take: bool
    skip: int = 0
    gap: bool = False


class ReceiveFlow:
    """The daemon's side: `next_seq` is expected next, everything before `committed` is journaled.

    `committed` is what a Welcome and an Ack tell, never `next_seq`: the client frees what they name.
    """

    def __init__(self, next_seq: int = 0, committed: int = 0) -> None:
        self.next_seq = next_seq
        self.committed = committed

    def hello(self, first_seq: int) -> int:
        """The client holds nothing before `first_seq`. Returns how many records are lost for good.

        They are: acked, and then the journal went away (its directory was deleted, say).
        """
        lost = max(0, first_seq - self.next_seq)
        if lost:
            self.next_seq = self.committed = first_seq
        return lost

    def rollback(self) -> None:
        """What was taken and not committed is gone: the next hello has it sent again."""
        self.next_seq = self.committed

    def batch(self, first_seq: int, count: int) -> Receipt:
        """A batch arrived. When it is to be taken, its records count as received from here on."""
        if first_seq > self.next_seq:
            return Receipt(take=False, gap=True)
        skip = self.next_seq - first_seq
        if skip >= count:
            return Receipt(take=False)
        self.next_seq = first_seq + count
        return Receipt(take=True, skip=skip)

    def commit(self, next_seq: int) -> None:
        """Everything before `next_seq` is journaled and may be acked."""
        self.committed = max(self.committed, next_seq)
