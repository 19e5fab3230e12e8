from __future__ import annotations

import struct
from contextlib import suppress

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynclog_proto import limits, records
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.records import Define, End, Layout, Params, Row, Summary
from tests.proto.strategies import any_record, msgpack_values


def pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


@given(any_record)
def test_a_record_comes_back_as_it_was(record):
    assert records.decode(records.encode(record)) == record


@given(st.lists(any_record))
def test_a_batch_is_its_records_end_to_end(batch):
    encoded = [records.encode(record) for record in batch]
    payload = b"".join(encoded)
    assert [payload[start:end] for start, end in records.iterate(payload, len(batch))] == encoded


@given(st.lists(any_record), st.integers(-3, 3).filter(bool))
def test_a_batch_that_lies_about_its_count_is_refused(batch, wrong):
    payload = b"".join(records.encode(record) for record in batch)
    with pytest.raises(ProtocolError):
        list(records.iterate(payload, len(batch) + wrong))


def test_nan_and_infinities_are_values():
    row = Row(0, 0, 1.0, 1.0, (float("nan"), float("inf"), float("-inf")))
    decoded = records.decode(records.encode(row))
    assert isinstance(decoded, Row)
    assert str(decoded.values) == "(nan, inf, -inf)"


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x96")
@example(b"\x96\x01")
@example(b"\x90")
@example(b"\x93\x02\x00\x91\x90")  # a layout with a list as a name: it can't be hashed
@example(b"\x93\x03\xa1a\x81\xa6reduce\x91\x90")
@example(b"\x92\x06\x90")
@example(b"\x91" * 100_000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
@example(b"\xc7\x00\xff")
@example(b"\xd6\xff\x00\x00\x00\x00")
@example(b"\x92\x04\x81\xa3\xed\xa0\x80\x01")  # a surrogate in UTF-8
@example(b"\x92\x04\x81\xa2\xff\xfe\x01")
def test_any_bytes_are_a_record_or_a_protocol_error(data):
    decode_or_refuse(data)


@given(any_record, st.data())
def test_a_spoiled_record_is_a_record_or_a_protocol_error(record, data):
    spoiled = bytearray(records.encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse(bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))]))


@given(st.lists(msgpack_values, max_size=4), st.integers(0, 7))
def test_any_messagepack_array_is_a_record_or_a_protocol_error(fields, kind):
    decode_or_refuse(pack([kind, *fields]))


def decode_or_refuse(data: bytes) -> None:
    text = ""
    try:
        record = records.decode(memoryview(data))
        assert records.decode(data) == record or "nan" in repr(record)
    except ProtocolError as error:
        text = str(error)
    assert len(text) < 600, "a peer does not fill our log"
    with suppress(ProtocolError):
        list(records.iterate(data))


@pytest.mark.parametrize(
    "fields",
    [
        [2, 1 << 32, ["a"]],
        [2, -1, ["a"]],
        [2, True, ["a"]],
        [2, 0, []],
        [2, 0, ["a", "a"]],
        [2, 0, [""]],
        [2, 0, ["n" * (limits.MAX_NAME_BYTES + 1)]],
        [2, 0, [b"a"]],
        [2, 0, "a"],
        [2, 0],
        [3, "a", {}],
        [3, "a", {"reduce": []}],
        [3, "a", {"reduce": ["median"]}],
        [3, "a", {"reduce": ["mean", "mean"]}],
        [3, "a", {"reduce": "mean"}],
        [3, "a", {"reduce": ["mean"], "per_rank": 1}],
        [3, "a", {"reduce": ["mean"], "own_steps": 1}],
        [3, "a", {"reduce": ["mean"], "lane": 1}],
        [4, {"a": [1]}],
        [4, {"a": b"bytes"}],
        [4, {"a": "t" * (limits.MAX_TEXT_BYTES + 1)}],
        [5, ["a"]],
        [6, "done"],
        [7, "later"],
        ["1"],
        [1.0, 2, 3],
        [True, 0, 0, 0.0, 0.0, b""],
    ],
)
def test_what_no_record_holds_is_refused(fields):
    with pytest.raises(ProtocolError):
        records.decode(pack(fields))


@pytest.mark.parametrize(
    "data", [b"\x92\x04\x82\xa1a\x01\xa1a\x02", b"\x92\x04\x81\x01\x02", b"\x92\x04\x81\xc4\x01a\x01"]
)
def test_maps_have_string_keys_once(data):
    with pytest.raises(ProtocolError, match=r"not allowed for map key|keys are strings|key twice"):
        records.decode(data)


def test_options_of_a_later_version_are_left_out():
    assert records.decode(pack([3, "a", {"reduce": ["max"], "smooth": 0.9}])) == Define("a", ("max",))


def test_a_row_has_one_form():
    """Valid MessagePack with a field less than full width would break the table of equal rows."""
    with pytest.raises(ProtocolError, match="one encoding"):
        records.decode(pack([1, 0, 5, 1.0, 1.0, struct.pack(">2d", 1, 2)]))


@pytest.mark.cap("names")
def test_a_row_without_values_or_with_too_many_is_refused():
    for count in (0, limits.MAX_NAMES_PER_ROW + 1):
        with pytest.raises(ProtocolError):
            records.encode(Row(0, 0, 0.0, 1.0, (0.0,) * count))
        with pytest.raises(ProtocolError):
            records.decode(records.row_struct(count).pack(*records.row_head(0, 0, 0.0, 1.0, count), *(0.0,) * count))


@pytest.mark.parametrize(
    "record",
    [
        Row(1 << 32, 0, 0.0, 1.0, (1.0,)),
        Row(0, 1 << 63, 0.0, 1.0, (1.0,)),
        Layout(0, ("\ud800",)),
        Layout(0, ("a", "a")),
        Params({"a": "\udfff"}),
        Params({"a": 1 << 64}),
        Params({"a" * 2000: 1}),
        Summary({"a": object()}),  # type: ignore[dict-item]
        End("done"),
    ],
)
def test_what_could_not_be_decoded_is_not_encoded(record):
    with pytest.raises(ProtocolError):
        records.encode(record)


def test_small_bytes_do_not_become_large_objects():
    """12 MB of one-byte empty arrays were 870 MB of objects before there was a budget."""
    many = b"\xdd\x00\x01\x00\x00" + (b"\xdc\x00\x32" + b"\x90" * 50) * 65536
    with pytest.raises(LimitError, match="more values"):
        records.decode(b"\x92\x04" + many)


def test_the_longest_layout_passes():
    layout = Layout(0, tuple(f"n{i}" for i in range(limits.MAX_NAMES_PER_ROW)))
    assert records.decode(records.encode(layout)) == layout


@pytest.mark.cap("sizes")
def test_a_record_beyond_the_limit_is_refused():
    with pytest.raises(LimitError):
        records.decode(b"\xc6" + bytes(limits.MAX_RECORD_BYTES))
    with pytest.raises(ProtocolError):
        list(records.iterate(b"\x91\xc6\x01\x00\x00\x00" + bytes(1 << 24)))
