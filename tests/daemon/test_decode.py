from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asynclog_proto import records
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import MAX_BATCH_BYTES, MAX_STREAM_LAYOUTS
from asynclog_proto.media import Section
from asynclog_proto.records import Define, End, Layout, Params, Record, Row, Summary, encode
from asynclogd.decode import MediaAt, StreamDecoder
from asynclogd.rows import Rows

AB, CD, BC = Layout(0, ("a", "b")), Layout(1, ("c", "d")), Layout(2, ("b", "c"))
Logged = tuple[str, int, float, float, float]


def row(layout: Layout, step: int, base: float = 0.0) -> Row:
    values = tuple(base + step + column / 8 for column in range(len(layout.names)))
    return Row(layout.layout, step, 100.0 + step, 1.0 + step % 2, values)


def payload(*said: Record) -> bytes:
    return b"".join(encode(record) for record in said)


def logged(rows: Rows) -> list[Logged]:
    return [
        (name, step, time, weight, value)
        for step, time, weight, values in zip(
            rows.steps.tolist(), rows.times.tolist(), rows.weights.tolist(), rows.values.tolist(), strict=True
        )
        for name, value in zip(rows.names, values, strict=True)
    ]


def series(decoded: Sequence[object]) -> dict[str, list[Logged]]:
    found: dict[str, list[Logged]] = {}
    for table in decoded:
        if isinstance(table, Rows):
            for each in logged(table):
                found.setdefault(each[0], []).append(each)
    return found


def expected(said: list[Record], skip: int = 0) -> dict[str, list[Logged]]:
    names = {record.layout: record.names for record in said if isinstance(record, Layout)}
    found: dict[str, list[Logged]] = {}
    for record in said[skip:]:
        if isinstance(record, Row):
            for name, value in zip(names[record.layout], record.values, strict=True):
                found.setdefault(name, []).append((name, record.step, record.time, record.weight, value))
    return found


def test_a_run_of_rows_is_one_table() -> None:
    said: list[Record] = [AB, *(row(AB, step) for step in range(1000))]
    (table,) = StreamDecoder().decode(payload(*said))
    assert isinstance(table, Rows)
    assert table.names == ("a", "b")
    assert (table.steps.dtype, table.values.dtype) == (np.dtype("i8"), np.dtype("f8"))
    assert table.values.shape == (1000, 2)
    assert table.values.flags.c_contiguous
    assert series([table]) == expected(said)


def test_a_spoiled_row_is_refused_also_where_rows_like_it_are_skipped() -> None:
    """It was looked at again without end: its head was wrong, and that of the row after it was not."""
    spoiled = bytearray(payload(AB, row(AB, 0), row(AB, 1)))
    spoiled[len(payload(AB)) + 7] = 0
    for skip in range(4):
        with pytest.raises(ProtocolError, match="one encoding"):
            StreamDecoder().decode(bytes(spoiled), skip)


@settings(max_examples=200)
@given(st.integers(0, 1 << 32))
@example(10408463)
def test_tells_what_the_records_say_one_by_one(seed: int) -> None:
    dice = random.Random(seed)
    layouts = [Layout(n, tuple(dice.sample("abcdefgh", dice.randint(1, 8)))) for n in range(dice.randint(1, 5))]
    said: list[Record] = [*layouts]
    for _ in range(dice.randint(0, 12)):
        cycle = dice.choices(layouts, k=dice.randint(1, 4))
        repeats = dice.choice([1, 2, 3, 70, 200])
        said += [row(layout, step, dice.random()) for step in range(repeats) for layout in cycle]
        if dice.random() < 0.3:
            other: list[Record] = [Define("a*", ("min",)), Params({"x": 1}), Summary({"y": None}), layouts[0]]
            said.append(dice.choice(other))
    decoder, whole = StreamDecoder(), StreamDecoder()
    cuts = sorted(dice.choices(range(len(said) + 1), k=2))
    decoded = [each for part in np.split(np.arange(len(said)), cuts) if len(part)
               for each in decoder.decode(payload(*(said[index] for index in part)), count=len(part))]  # fmt: skip
    assert series(decoded) == expected(said)
    assert series(whole.decode(payload(*said))) == expected(said)
    others = [each for each in said if not isinstance(each, (Row, Layout))]
    assert [each for each in decoded if not isinstance(each, Rows)] == others
    assert decoder.layouts == whole.layouts == {layout.layout: layout.names for layout in layouts}
    skip = dice.randint(0, len(said))
    again = StreamDecoder()
    assert series(again.decode(payload(*said), skip)) == expected(said, skip)
    assert again.records == len(said)


def test_a_layout_said_again_between_rows_is_no_part_of_a_period() -> None:
    ab, cd = Layout(0, ("a", "b")), Layout(1, ("c", "d"))
    said: list[Record] = [ab, cd, row(ab, 0), ab, row(ab, 1), ab, row(ab, 2), ab, row(ab, 3), row(cd, 4), row(cd, 5)]
    assert series(StreamDecoder().decode(payload(*said))) == expected(said)


def test_a_define_stands_between_the_rows_before_and_after_it() -> None:
    define = Define("a", ("sum",), per_rank=True)
    first, middle, last, end = StreamDecoder().decode(payload(AB, row(AB, 0), define, row(AB, 1), End("success")))
    assert isinstance(first, Rows)
    assert isinstance(last, Rows)
    assert (first.steps.tolist(), middle, last.steps.tolist(), end) == ([0], define, [1], End("success"))


@pytest.mark.cap("names")
def test_a_stream_names_as_many_layouts_as_it_may_and_goes_on_with_them() -> None:
    decoder = StreamDecoder()
    decoder.decode(payload(*(Layout(number, (f"n{number}",)) for number in range(MAX_STREAM_LAYOUTS))))
    with pytest.raises(LimitError, match="at most 10000 layouts"):
        decoder.decode(payload(Layout(MAX_STREAM_LAYOUTS, ("one too many",))))
    (table,) = decoder.decode(payload(row(Layout(7, ("n7",)), 5)))
    assert isinstance(table, Rows)
    assert table.names == ("n7",)


def test_goes_on_from_the_layouts_of_an_earlier_decoder() -> None:
    decoder = StreamDecoder()
    assert decoder.decode(payload(AB)) == []
    (table,) = StreamDecoder(decoder.layouts).decode(payload(row(AB, 7)))
    assert isinstance(table, Rows)
    assert table.steps.tolist() == [7]


def test_keeps_every_bit_of_a_value() -> None:
    values = (float("nan"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308)
    layout = Layout(3, tuple("abcde"))
    (table,) = StreamDecoder().decode(payload(layout, Row(3, -(2**63), 0.0, 1.0, values)))
    assert isinstance(table, Rows)
    assert table.values.tobytes() == struct.pack("=5d", *values)
    assert table.steps.tolist() == [-(2**63)]


GOOD = payload(AB, *(row(AB, step) for step in range(100)))


def spoiled(at: int, byte: int) -> bytes:
    return GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]


ROW_SIZE = records.row_size(2)
LAST = len(GOOD) - ROW_SIZE
WRONG = {
    "a layout that was not named": payload(row(CD, 0)),
    "a layout named again, differently": payload(AB, Layout(0, ("a", "z"))),
    "cut short in a row": GOOD[:-1],
    "cut short in a head": GOOD[: LAST + 20],
    "cut short in a tag": GOOD[: LAST + 4],
    "another layout number": spoiled(LAST + 6, 9),
    "a short integer tag": spoiled(LAST + 2, 0xCD),
    "another step tag": spoiled(LAST + 7, 0xCF),
    "another time tag": spoiled(LAST + 16, 0xCA),
    "another weight tag": spoiled(LAST + 25, 0xCA),
    "another values tag": spoiled(LAST + 34, 0xC5),
    "another length": spoiled(LAST + 38, 8),
    "a time that is not finite": payload(AB, Row(0, 0, float("nan"), 1.0, (1.0, 2.0))),
    "padding of a ring": b"\xc0",
    "an unknown kind": b"\x91\x63",
    "a row as another array": b"\xdc\x00\x06" + encode(row(AB, 0))[1:],
    "an unhashable name": b"\x93\x02\x00\x92\x91\x01\x91\x02",
    "an unhashable reduction": b"\x93\x03\xa1a\x81\xa6reduce\x91\x91\x01",
    "an unhashable status": b"\x92\x06\x91\x01",
    "too many bytes": bytes(MAX_BATCH_BYTES + 1),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_refuses_what_does_not_fit_and_stays_as_it_was(wrong: bytes) -> None:
    decoder = StreamDecoder({0: AB.names} if wrong[:1] == b"\x96" else {})
    before = decoder.layouts.copy()
    with pytest.raises(ProtocolError):
        decoder.decode(payload(Layout(77, ("q",))) + wrong)
    assert decoder.layouts == before
    assert decoder.decode(GOOD)


def test_refuses_to_skip_more_than_there_is() -> None:
    with pytest.raises(ProtocolError, match="101"):
        StreamDecoder().decode(GOOD, skip=102)


def test_checks_skipped_rows_too() -> None:
    with pytest.raises(ProtocolError):
        StreamDecoder().decode(spoiled(LAST + 16, 0), skip=101)


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=9), st.integers(0, 12))
def test_raises_nothing_but_protocol_errors(at: int, junk: bytes, cut: int) -> None:
    with contextlib.suppress(ProtocolError):
        StreamDecoder().decode(GOOD[:at] + junk + GOOD[at + cut :], count=101)


def test_layouts_that_alternate_without_end_cost_what_their_bytes_cost() -> None:
    """Each cycle differs from the one before: nothing to find, and nothing quadratic either."""
    layouts = [Layout(number, (f"n{number}",)) for number in range(40)]
    dice = random.Random(0)
    said: list[Record] = [*layouts]
    for step in range(100):
        said += [row(layout, step) for layout in dice.sample(layouts, 40)]
    decoded = StreamDecoder().decode(payload(*said))
    assert len(decoded) == len(layouts)
    assert series(decoded) == expected(said)


def test_a_media_record_tells_its_place_and_cuts_no_table() -> None:
    image = records.Media("img", 3, 1.0, "text", (Section("text", "text", (2,)),), {}, b"hi")
    said: list[Record] = [AB, row(AB, 0), row(AB, 1), image, row(AB, 2), image, row(AB, 3)]
    decoder = StreamDecoder()
    decoded = decoder.decode(payload(*said), count=7)
    assert [each for each in decoded if isinstance(each, MediaAt)] == [(3, image), (5, image)]
    assert [len(each.steps) for each in decoded if isinstance(each, Rows)] == [4]
    assert series(decoded) == expected(said)
    assert [each.place for each in decoder.decode(payload(*said), 4) if isinstance(each, MediaAt)] == [5]
