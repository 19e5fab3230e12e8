from __future__ import annotations

import struct
from collections import deque
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import records, ringfile
from asynclog_proto.errors import ProtocolError

HELLO = b"hello"
encoded_records = st.one_of(
    st.integers(1, 8).map(lambda n: records.encode(records.Row(n, n, 1.0, 1.0, (0.5,) * n))),
    st.integers(1, 60).map(lambda n: records.encode(records.Params({"p" * n: n}))),
    st.just(records.encode(records.End("success"))),
)


class Writer:
    """A client's side of the format, written from SPEC.md and not from the client's code."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.file = bytearray(ringfile.header(capacity, HELLO) + bytes(capacity))
        self.head = self.tail = self.tail_seq = 0
        self.held: deque[tuple[int, bytes]] = deque()
        """(end position, record) of what is not freed"""

    def append(self, record: bytes) -> bool:
        """Whether there was room."""
        left = self.capacity - self.head % self.capacity
        pad = left if left < len(record) else 0
        if self.head + pad + len(record) - self.tail > self.capacity:
            return False
        if pad:
            self.file[ringfile.HEADER + self.head % self.capacity] = 0xC0
        start = self.head + pad
        place = ringfile.HEADER + start % self.capacity
        self.file[place : place + len(record)] = record
        self.head = start + len(record)
        struct.pack_into("=Q", self.file, 16, self.head)
        self.held.append((self.head, record))
        return True

    def free(self, count: int) -> None:
        for _ in range(min(count, len(self.held))):
            self.tail = self.held.popleft()[0]
            self.tail_seq += 1
        selector = struct.unpack_from("=Q", self.file, 24)[0]
        struct.pack_into("=QQ", self.file, (48, 32)[selector], self.tail, self.tail_seq)
        struct.pack_into("=Q", self.file, 24, 1 - selector)

    def read(self) -> tuple[ringfile.RingState, list[bytes]]:
        data = memoryview(bytes(self.file))
        state = ringfile.read_state(data)
        return state, [bytes(record) for record in ringfile.read_records(data, state)]


steps = st.lists(encoded_records | st.integers(0, 6), max_size=60)


@given(st.integers(110, 600), steps)
def test_what_is_held_is_read_back_after_every_step(capacity, sequence):
    ring = Writer(capacity)
    for step in sequence:
        ring.free(step) if isinstance(step, int) else ring.append(step)
        state, found = ring.read()
        assert found == [record for _, record in ring.held]
        assert (state.tail_seq, state.hello, state.capacity) == (ring.tail_seq, HELLO, capacity)


@given(st.integers(110, 600), steps, encoded_records)
def test_killed_before_the_head_is_stored_the_records_before_it_are_read(capacity, sequence, last):
    ring = Writer(capacity)
    for step in sequence:
        ring.free(step) if isinstance(step, int) else ring.append(step)
    before, head = [record for _, record in ring.held], ring.head
    ring.append(last)
    struct.pack_into("=Q", ring.file, 16, head)
    assert ring.read()[1] == before


@given(st.integers(110, 600), steps, st.integers(1, 6))
def test_killed_before_the_tail_is_valid_the_old_tail_counts(capacity, sequence, freed):
    ring = Writer(capacity)
    for step in sequence:
        ring.free(step) if isinstance(step, int) else ring.append(step)
    before = [record for _, record in ring.held]
    selector = ring.file[24:32]
    ring.free(freed)
    ring.file[24:32] = selector
    assert ring.read()[1] == before


@given(st.integers(110, 600), steps, st.data())
def test_cut_at_any_head_the_whole_records_come_first(capacity, sequence, data):
    """No client stores such a head; a spoiled one must not give more than was there, nor another error."""
    ring = Writer(capacity)
    for step in sequence:
        ring.free(step) if isinstance(step, int) else ring.append(step)
    head = data.draw(st.integers(ring.tail, ring.head))
    struct.pack_into("=Q", ring.file, 16, head)
    view = memoryview(bytes(ring.file))
    found: list[bytes] = []
    with suppress(ProtocolError):
        found.extend(bytes(record) for record in ringfile.read_records(view, ringfile.read_state(view)))
    assert found == [record for end, record in ring.held if end <= head]


@given(st.binary(min_size=112, max_size=112), st.binary(max_size=300), st.booleans())
def test_any_file_is_a_ring_or_a_protocol_error(head, data, sized):
    file = bytearray(ringfile.header(len(data), HELLO) + data)
    file[16:64] = head[:48]
    if sized:  # else the positions are never near each other
        position = int.from_bytes(head[:8], "little") % (1 << 62)
        struct.pack_into("=QQ", file, 16, position + len(data), 0)
        struct.pack_into("=QQ", file, 32, position + head[9] * len(data) // 255, 7)
    view = memoryview(bytes(file))
    with suppress(ProtocolError):
        sum(len(record) for record in ringfile.read_records(view, ringfile.read_state(view)))


@pytest.mark.parametrize("data", [b"", b"asynclr1", bytes(ringfile.HEADER), ringfile.header(64, b"") + bytes(63)])
def test_a_file_that_is_no_ring_is_refused(data):
    with pytest.raises(ProtocolError):
        ringfile.read_state(memoryview(data))


def test_a_hello_that_does_not_fit_is_refused():
    with pytest.raises(ProtocolError):
        ringfile.header(64, bytes(ringfile.MAX_HELLO + 1))
    assert len(ringfile.header(64, bytes(ringfile.MAX_HELLO))) == ringfile.HEADER


def test_the_counters_stand_where_the_format_says():
    file = bytearray(ringfile.header(0, HELLO))
    struct.pack_into(f"={1 + len(ringfile.DROPS)}Q", file, 64, *range(10, 11 + len(ringfile.DROPS)))
    state = ringfile.read_state(memoryview(file))
    assert state.issued == 10
    assert state.dropped == {cause: 11 + number for number, cause in enumerate(ringfile.DROPS)}
    assert ringfile.DROPPED + 8 * len(ringfile.DROPS) <= ringfile.HELLO
