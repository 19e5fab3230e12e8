from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynclog_proto import records, wire
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import MAX_DEPTH, MAX_RECORD_BYTES


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


def test_depth_has_a_limit():
    assert wire.unpack(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 500, 600, 1_000_000):
        with pytest.raises(ProtocolError):
            wire.unpack(nested(depth))


def test_elements_have_a_limit():
    assert wire.unpack(wire.pack([1, {"a": 2}]), max_elements=6) == [1, {"a": 2}]
    with pytest.raises(LimitError):
        wire.unpack(wire.pack([1, {"a": 2}]), max_elements=5)


def test_bytes_have_a_limit():
    with pytest.raises(LimitError):
        wire.unpack(b"\xc4\x02ab", max_bytes=3)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, "\ud800", {"a": "\udc00"}, object(), {1, 2}, 1j])
def test_what_cannot_travel_is_a_protocol_error(value):
    with pytest.raises(ProtocolError):
        wire.pack(value)


def test_a_list_that_holds_itself_is_a_protocol_error():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ProtocolError):
        wire.pack(loop)


@given(st.binary(max_size=60))
@example(b"\xc1")
@example(b"\x01\x02")
@example(b"\xc7\x00\x05")
@example(b"\xc7\x0c\xff" + b"\xff" * 12)
@example(b"\x81\x90\x01")
def test_any_bytes_are_a_value_or_a_protocol_error(data):
    for call in (wire.unpack, lambda data: wire.object_size(memoryview(data))):
        with suppress(ProtocolError):
            call(data)


@given(st.lists(st.binary(max_size=30), max_size=20), st.binary(max_size=20))
def test_an_object_ends_where_the_next_begins(value, rest):
    data = wire.pack(value)
    assert wire.object_size(memoryview(data + rest)) == len(data)


@pytest.mark.parametrize("size", [200, 256, 4096, 65536, 1 << 20])
def test_an_object_of_any_size_is_measured(size):
    data = wire.pack([b"x" * size])
    assert wire.object_size(memoryview(data + b"\x01" * 70000)) == len(data)
    with pytest.raises(ProtocolError):
        wire.object_size(memoryview(data[:-1]))


def test_an_object_beyond_the_limit_is_refused():
    with pytest.raises(ProtocolError):
        wire.object_size(memoryview(wire.pack([bytes(MAX_RECORD_BYTES)])))


def test_a_name_in_an_error_is_short():
    with pytest.raises(ProtocolError) as caught:
        records.check_name(["x" * 10_000] * 10_000)
    assert len(str(caught.value)) < 300
