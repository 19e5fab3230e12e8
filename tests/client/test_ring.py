from __future__ import annotations

import mmap
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.ring import Ring
from asynclog_proto import ringfile
from asynclog_proto.records import Params, Row, decode, encode, iterate

CAPACITY = 8192


def fresh(capacity: int = CAPACITY) -> tuple[Ring, mmap.mmap]:
    file = mmap.mmap(-1, ringfile.HEADER + capacity)
    file[: ringfile.HEADER] = ringfile.header(capacity, b"hello")
    return Ring(file), file


def held(file: mmap.mmap) -> list[bytes]:
    data = memoryview(bytes(file))
    return [bytes(record) for record in ringfile.read_records(data, ringfile.read_state(data))]


def record(number: int, width: int) -> bytes:
    return encode(Row(0, number, 0.0, 1.0, (float(number),) * width))


def test_what_was_appended_is_in_the_file() -> None:
    ring, file = fresh()
    written = [record(number, 3) for number in range(20)]
    assert all(ring.append(one) for one in written)
    assert held(file) == written


def test_ranges_are_whole_records_and_end_with_the_lap() -> None:
    ring, _ = fresh()
    taken = []
    for number in range(300):
        assert ring.append(record(number, 1 + number % 30))
        for batch in ring.take():
            view = ring.view(batch.source)
            assert len(list(iterate(view))) == batch.count
            taken.append((batch.first_seq, batch.count))
            ring.free(batch.source.end, batch.next_seq)
    assert sum(count for _, count in taken) == 300
    assert [first for first, _ in taken] == list(range(300))


@pytest.mark.cap("ring")
def test_a_full_ring_says_no_and_the_oldest_records_stay() -> None:
    ring, file = fresh()
    written: list[bytes] = []
    while ring.append(one := record(len(written), 5), wait=False):
        written.append(one)
    assert held(file) == written
    assert not ring.append(record(0, 5), wait=False)


@pytest.mark.cap("ring")
def test_waiting_for_room_costs_once_until_some_comes() -> None:
    ring, _ = fresh()
    while ring.append(record(0, 50), wait=False):
        pass
    for _ in range(5):
        assert not ring.append(record(0, 50))
    assert ring.waits == 1
    (batch, *_) = ring.take()
    ring.free(batch.source.end, batch.next_seq)
    while ring.append(record(0, 50)):
        pass
    assert ring.waits == 2


def test_a_writer_that_waits_goes_on_when_there_is_room() -> None:
    ring, _ = fresh()
    while ring.append(record(0, 50), wait=False):
        pass

    def make_room() -> None:
        for batch in ring.take():
            ring.free(batch.source.end, batch.next_seq)

    ring.writer.wake = threading.Thread(target=make_room).start
    assert ring.append(record(1, 50))


def test_the_counters_outlive_the_file() -> None:
    ring, file = fresh()
    ring.issue(7)
    ring.drop("bad_value", 2)
    state = ringfile.read_state(memoryview(bytes(file)))
    assert (state.issued, state.dropped["bad_value"]) == (7, 2)
    ring.close()
    ring.drop("after_finish", 1)
    assert (ring.issued, ring.dropped["bad_value"], ring.dropped["after_finish"]) == (7, 2, 1)


def test_a_detached_ring_leaves_the_file_alone() -> None:
    ring, file = fresh()
    ring.append(record(0, 1))
    before = bytes(file)
    ring.detach()
    ring.issue(5)
    assert bytes(file) == before


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 250)),
        st.tuples(st.just("other"), st.integers(0, 900)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("free"), st.integers(1, 4)),
    ),
    max_size=120,
)


@given(OPERATIONS, st.sampled_from([4096, CAPACITY, 12288]))
def test_a_reader_finds_exactly_what_is_not_freed_whatever_happened(
    operations: list[tuple[str, int]], capacity: int
) -> None:
    ring, file = fresh(capacity)
    written: list[bytes] = []
    taken, freed = [], 0
    for what, size in operations:
        if what in {"append", "other"}:
            one = record(len(written), size) if what == "append" else encode(Params({"n": "x" * size}))
            if len(one) <= capacity // 2 and ring.append(one, wait=False):
                written.append(one)
        elif what == "take":
            taken += ring.take()
        else:
            for batch in taken[:size]:
                ring.free(batch.source.end, batch.next_seq)
                freed = batch.next_seq
            taken = taken[size:]
        data = memoryview(bytes(file))
        state = ringfile.read_state(data)
        assert state.tail_seq == freed
        assert [bytes(found) for found in ringfile.read_records(data, state)] == written[freed:]
        for batch in taken:
            content = b"".join(written[batch.first_seq : batch.next_seq])
            assert ring.view(batch.source) == content
            assert batch.size == len(content)


@pytest.mark.parametrize("kill_after", range(4))
def test_a_record_that_was_not_published_is_not_read(kill_after: int) -> None:
    """The bytes of a row are written before the head moves: a death in between loses the row, whole."""
    ring, file = fresh()
    for number in range(kill_after):
        ring.append(record(number, 2))
    before = held(file)
    ring.reserve(100)
    struct.pack_into("8s", ring.data, ring.writer.place, record(9, 2)[:8])
    assert held(file) == before


def test_a_lap_whose_begin_was_interrupted_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the mark and the new place: smaller records do not go in front of the mark."""
    ring, _ = fresh()
    seen: list[int] = []

    def take() -> None:
        for batch in ring.take():
            view = ring.view(batch.source)
            rows = [decode(bytes(view[start:end])) for start, end in iterate(view)]
            seen.extend(row.step for row in rows if isinstance(row, Row))
            ring.free(batch.source.end, batch.next_seq)

    number = 0
    while ring.writer.place + 1000 <= ringfile.HEADER + CAPACITY:
        assert ring.append(record(number, 100))
        number += 1
        take()
    whole = Ring._mark

    def interrupted(self: Ring, next_start: int) -> None:
        whole(self, next_start)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ring, "_mark", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ring.append(record(number, 200))
    for width in (1, 1, 100, 1):
        assert ring.append(record(number, width))
        number += 1
        take()
    assert seen == list(range(number))
