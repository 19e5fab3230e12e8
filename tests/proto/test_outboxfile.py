from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import outboxfile
from asynclog_proto.errors import ProtocolError
from asynclog_proto.media import Place
from asynclog_proto.outboxfile import HEADER, at, capacity_of, fit, header


@given(st.integers(1, (1 << 48) - 1))
def test_the_capacity_comes_back(capacity):
    assert len(header(capacity)) == HEADER
    assert capacity_of(header(capacity)) == capacity


@pytest.mark.parametrize(
    "head",
    [
        b"",
        header(1)[:15],
        b"ALOX" + header(1)[4:],
        header(1)[:4] + b"\2\0\0\0" + header(1)[8:],
        header(0),
        header(1 << 48),
    ],
)
def test_what_is_no_outbox_is_refused(head):
    with pytest.raises(ProtocolError):
        capacity_of(head)


@given(st.integers(1, 200), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3)), max_size=50))
def test_bodies_that_are_not_freed_never_overlap(capacity, calls):
    tail = head = 0
    held: deque[Place] = deque()
    for size, frees in calls:
        offset = fit(tail, head, size, capacity)
        if offset is not None:
            assert offset >= head
            start = at(Place(0, offset, size), capacity)
            assert HEADER <= start <= start + size <= HEADER + capacity
            for other in held:
                begin = at(other, capacity)
                assert start + size <= begin or begin + other.size <= start
            head = offset + size
            held.append(Place(0, offset, size))
        for _ in range(min(frees, len(held))):
            freed = held.popleft()
            tail = freed.offset + freed.size
        assert 0 <= head - tail <= capacity


@given(st.integers(1, 200), st.integers(0, 1 << 40))
def test_an_empty_outbox_has_room_for_a_body_at_a_laps_beginning(capacity, lap):
    position = lap * capacity
    assert fit(position, position, capacity, capacity) == position
    assert fit(position, position, capacity + 1, capacity) is None


@pytest.mark.parametrize(("offset", "size"), [(0, 101), (99, 2), (150, 51), (100, 101)])
def test_a_place_that_crosses_the_end_is_refused(offset, size):
    with pytest.raises(ProtocolError, match="crosses"):
        at(Place(0, offset, size), 100)


def test_a_place_is_behind_the_header_whatever_the_lap():
    assert at(Place(0, 250, 50), 100) == outboxfile.HEADER + 50
