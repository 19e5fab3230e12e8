"""Target: a batch's payload. The daemon's decoder, which reads tables, tells what the records say one by one."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from asynclog_proto import records
from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import Layout, Record, Row
from asynclogd.decode import Decoded, MediaAt, Rows, StreamDecoder
from tests.fuzz.messages import LONGEST_ERROR

Series = dict[str, list[bytes]]
"""Of each name step, time, weight and value as bytes: equal for NaN, and not for 0.0 and -0.0."""

_POINT = struct.Struct(">qddd")


def run(data: bytes) -> None:
    """The first byte of `data` says how many records are to be skipped, the rest is the payload."""
    skip, payload = (data[0] % 8 if data else 0), data[1:]
    said = _one_by_one(payload)
    decoder = StreamDecoder()
    try:
        decoded = decoder.decode(payload, skip=skip)
    except ProtocolError as error:
        assert len(str(error)) < LONGEST_ERROR, "an error's text without end"
        assert not decoder.layouts, "a payload that is refused has named layouts"
        return
    assert said is not None, "a payload is taken of which a record is refused"
    assert decoder.records == len(said)
    assert _tables(decoded) == _rows(said, skip)
    others = [record.record if isinstance(record, MediaAt) else record for record in decoded]
    kept = [record for record in said[skip:] if not isinstance(record, (Row, Layout))]
    assert [_bytes(record) for record in others if not isinstance(record, Rows)] == [_bytes(record) for record in kept]


def _one_by_one(payload: bytes) -> list[Record] | None:
    """The records; None where they are none. Each is written again, and read as the same."""
    try:
        said = [records.decode(payload[start:end]) for start, end in records.iterate(payload)]
    except ProtocolError:
        return None
    for record in said:
        written = _bytes(record)
        assert _bytes(records.decode(written)) == written
    return said


def _bytes(record: Record) -> bytes:
    return records.encode(record)


def _tables(decoded: Iterable[Decoded]) -> Series:
    series: Series = {}
    for rows in decoded:
        if isinstance(rows, Rows):
            for step, time, weight, values in zip(rows.steps, rows.times, rows.weights, rows.values, strict=True):
                for name, value in zip(rows.names, values, strict=True):
                    series.setdefault(name, []).append(_POINT.pack(step, time, weight, value))
    return series


def _rows(said: list[Record], skip: int) -> Series:
    names: dict[int, tuple[str, ...]] = {}
    series: Series = {}
    for number, record in enumerate(said):
        if isinstance(record, Layout):
            names[record.layout] = record.names
        elif isinstance(record, Row) and number >= skip:
            for name, value in zip(names[record.layout], record.values, strict=True):
                series.setdefault(name, []).append(_POINT.pack(record.step, record.time, record.weight, value))
    return series
