from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import spoolfile
from asynclog_proto.errors import ProtocolError

HELLO = b"the hello of this stream"
payloads = st.binary(min_size=1, max_size=40) | st.sampled_from(
    [spoolfile.BATCH_MARK, spoolfile.HELLO_MARK * 3, b"\xa5\x5a\xa5\x5a"]
)
segments = st.lists(payloads, max_size=8)


def build(batches: list[bytes]) -> tuple[bytes, list[int]]:
    """A segment, and where each of its batches ends."""
    data, ends = spoolfile.start(HELLO), []
    for number, payload in enumerate(batches):
        data += spoolfile.entry(10 * number, 3, payload)
        ends.append(len(data))
    return data, ends


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(batch.first_seq, bytes(batch.payload)) for batch in spoolfile.read_batches(memoryview(data))]


def expected(batches: list[bytes]) -> list[tuple[int, bytes]]:
    return [(10 * number, payload) for number, payload in enumerate(batches)]


@given(segments)
def test_a_segment_reads_back(batches):
    data, _ = build(batches)
    assert spoolfile.read_hello(memoryview(data)) == HELLO
    assert read(data) == expected(batches)


def test_a_batch_lies_where_it_is_said_to():
    assert spoolfile.entry(1, 1, b"payload")[spoolfile.ENTRY_OVERHEAD :] == b"payload"


@pytest.mark.fault("files-damaged")
@given(segments, st.data())
def test_cut_anywhere_the_whole_batches_are_read(batches, data):
    segment, ends = build(batches)
    cut = data.draw(st.integers(0, len(segment)))
    assert read(segment[:cut]) == expected(batches)[: sum(end <= cut for end in ends)]


@pytest.mark.fault("files-damaged")
@given(segments, st.data())
def test_a_flipped_bit_costs_the_batch_it_is_in_and_no_other(batches, data):
    segment, ends = build(batches)
    at = data.draw(st.integers(0, len(segment) - 1))
    spoiled = bytearray(segment)
    spoiled[at] ^= 1 << data.draw(st.integers(0, 7))
    starts = [len(spoolfile.start(HELLO)), *ends]
    whole = [entry for entry, start, end in zip(expected(batches), starts, ends, strict=False) if not start <= at < end]
    assert read(bytes(spoiled)) == whole


@pytest.mark.fault("files-damaged")
@given(segments, st.integers(0, 200))
def test_a_hole_of_zeros_costs_only_what_it_covers(batches, start):
    """After a power loss pages may come back as zeros."""
    segment, ends = build(batches)
    hole = range(start, min(start + 30, len(segment)))
    spoiled = bytearray(segment)
    for at in hole:
        spoiled[at] = 0
    starts = [len(spoolfile.start(HELLO)), *ends]
    whole = [
        entry
        for entry, begin, end in zip(expected(batches), starts, ends, strict=False)
        if spoiled[begin:end] == segment[begin:end]
    ]
    assert read(bytes(spoiled)) == whole


@pytest.mark.fault("files-damaged")
def test_a_spoiled_hello_is_an_error_and_never_a_batch():
    data = bytearray(build([b"one", b"two"])[0])
    data[len(spoolfile.MAGIC) + 20] ^= 1
    with pytest.raises(ProtocolError, match="without its hello"):
        spoolfile.read_hello(memoryview(bytes(data)))
    assert read(bytes(data)) == expected([b"one", b"two"])


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_batches_or_a_protocol_error(data, marked):
    data = spoolfile.MAGIC + data if marked else data
    with suppress(ProtocolError):
        spoolfile.read_hello(memoryview(data))
    read(data)


@pytest.mark.parametrize(("first_seq", "count"), [(0, 0), ((1 << 64) - 1, 1), (0, (1 << 32) - 1)])
def test_numbers_that_no_stream_has_are_passed_over(first_seq, count):
    data = spoolfile.start(HELLO) + spoolfile.entry(first_seq, count, b"x") + spoolfile.entry(0, 1, b"y")
    assert read(data) == [(0, b"y")]


def test_a_segment_of_marks_is_read_in_one_pass():
    """Each byte is looked at a bounded number of times: a hostile file costs what its bytes cost."""
    assert read(spoolfile.MAGIC + spoolfile.BATCH_MARK * 200_000) == []


def test_counts_read_back_and_spoiled_ones_are_an_error():
    data = spoolfile.counts(b"a finish")
    assert spoolfile.read_counts(memoryview(data)) == b"a finish"
    for spoiled in (data[:-1], data[:-1] + b"?", b"", spoolfile.start(HELLO)):
        with pytest.raises(ProtocolError):
            spoolfile.read_counts(memoryview(spoiled))
