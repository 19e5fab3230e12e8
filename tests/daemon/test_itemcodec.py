from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto.errors import ProtocolError
from asynclogd import itemcodec
from asynclogd.points import Item, Params, Points
from tests.daemon.tables import ITEMS, identity, table


class Numbered:
    """Layouts by number, as a journal has them."""

    def __init__(self) -> None:
        self.layouts: list[tuple[str, ...]] = []

    def number(self, names: tuple[str, ...]) -> int:
        self.layouts.append(names)
        return len(self.layouts) - 1

    def names(self, number: int) -> tuple[str, ...]:
        if number >= len(self.layouts):
            raise ProtocolError(f"there is no layout {number}")
        return self.layouts[number]


@given(ITEMS)
def test_an_item_comes_back_to_the_bit(item: Item) -> None:
    layouts = Numbered()
    assert identity(itemcodec.decode(itemcodec.encode(item, layouts.number), layouts.names)) == identity(item)


@pytest.mark.fault("values-odd")
def test_the_payload_of_a_nan_is_kept() -> None:
    bits = struct.pack("<Q", 0xFFF80000DEADBEEF)
    points = table(0)
    points.values[:] = np.frombuffer(bits, "<f8")
    layouts = Numbered()
    back = itemcodec.decode(itemcodec.encode(points, layouts.number), layouts.names)
    assert isinstance(back, Points)
    assert back.values.tobytes() == 2 * bits


def test_constant_counts_take_no_room() -> None:
    names = tuple(f"x{i}" for i in range(1000))
    blob = itemcodec.encode(table(0, k=10, names=names), lambda _: 0)
    assert len(blob) < 10 * 1000 * 8 + 10 * 16 + 100


@given(ITEMS, st.data())
def test_a_blob_that_was_cut_or_lengthened_is_refused(item: Item, data: st.DataObject) -> None:
    layouts = Numbered()
    blob = itemcodec.encode(item, layouts.number)
    cut = blob[: data.draw(st.integers(0, len(blob) - 1))]
    for spoiled in (cut, blob + b"\0"):
        with pytest.raises(ProtocolError):
            itemcodec.decode(spoiled, layouts.names)


@given(ITEMS, st.data())
def test_a_spoiled_blob_is_an_item_or_a_protocol_error(item: Item, data: st.DataObject) -> None:
    layouts = Numbered()
    blob = bytearray(itemcodec.encode(item, layouts.number))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProtocolError):
        itemcodec.decode(bytes(blob), layouts.names)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_item_or_a_protocol_error(blob: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        itemcodec.decode(blob, lambda _: ("a",))


def test_a_head_that_promises_more_than_there_is_allocates_nothing() -> None:
    head = itemcodec.HEAD.pack(itemcodec.POINTS, 0, 0, 0, 2**32 - 1, 2**32 - 1, 1, 0, 1, 1)
    with pytest.raises(ProtocolError, match="does not take 32 bytes"):
        itemcodec.decode(head, lambda _: ("a",))


def test_a_value_that_messagepack_cannot_hold_is_refused_when_it_is_encoded() -> None:
    with pytest.raises(ProtocolError):
        itemcodec.encode(Params({"seed": 1 << 70}), lambda _: 0)
