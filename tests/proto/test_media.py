from __future__ import annotations

import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import limits, records
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.media import DTYPES, INLINE_BYTES, KINDS, Media, Place, Section

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | texts
options = st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=4)
shapes = st.lists(st.integers(0, 9), max_size=8).map(tuple)
sections = st.lists(st.builds(Section, names, st.sampled_from(sorted(DTYPES)), shapes), max_size=3).map(tuple)
counts = st.integers(0, (1 << 63) - 1)


@st.composite
def any_media(draw: st.DrawFn) -> Media:
    made = draw(sections)
    size = sum(section.size for section in made)
    body: bytes | Place = Place(draw(counts), draw(counts), size)
    if size > limits.MAX_MEDIA_BYTES:
        made, body = (), b""
    elif size <= INLINE_BYTES and draw(st.booleans()):
        body = draw(st.binary(min_size=size, max_size=size))
    step = draw(st.integers(-(1 << 63), (1 << 63) - 1))
    return Media(draw(names), step, draw(floats), draw(st.sampled_from(KINDS)), made, draw(options), body)


GOOD = [9, "samples", 3, 1.5, "image", [["image", "uint8", [2, 3]]], {"caption": "c"}, b"abcdef"]


def changed(index: int, value: object) -> bytes:
    fields = list(GOOD)
    fields[index] = value
    packed: bytes = msgpack.packb(fields)
    return packed


@given(any_media())
def test_media_come_back_as_they_were(record):
    assert records.decode(records.encode(record)) == record


def test_what_the_refusals_change_is_a_good_record():
    assert records.decode(msgpack.packb(GOOD)) == Media(
        "samples", 3, 1.5, "image", (Section("image", "uint8", (2, 3)),), {"caption": "c"}, b"abcdef"
    )


def test_a_sections_size_is_that_of_its_elements():
    assert Section("image", "float32", (3, 4, 5)).size == 240
    assert Section("loss", "float64", ()).size == 8


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (1, ""), (1, 5), (2, 1.0), (2, None), (2, True), (3, 1), (3, math.nan), (3, math.inf), (3, None),
        (4, "smell"), (4, ["image"]), (4, None), (5, {}), (5, [["image", "uint8"]]), (5, ["image"]),
        (5, [["", "uint8", [6]]]), (5, [["a" * 1025, "uint8", [6]]]), (5, [[1, "uint8", [6]]]),
        (5, [["image", "uint16", [3]]]), (5, [["image", ["uint8"], [6]]]), (5, [["image", "uint8", 6]]),
        (5, [["image", "uint8", [-6]]]), (5, [["image", "uint8", [6.0]]]), (5, [["image", "uint8", [True] * 2]]),
        (5, [["image", "uint8", [1] * 9]]), (5, [["image", "uint8", [7]]]), (5, [["image", "uint8", [0]]]),
        (5, [["image", "uint8", [(1 << 29) + 1, 0]]]), (5, []), (5, [["a", "uint8", [0]]] * 17),
        (6, []), (6, {"a": {"b": 1}}), (6, {"a": [[1]]}), (6, {"a": b"bytes"}),
        (7, "abcdef"), (7, [0, 0]), (7, [0, 0, 6.0]), (7, [0, -1, 6]), (7, [0, 0, 5]), (7, [0, 1 << 63, 6]),
        (7, [True, 0, 6]), (7, None), (7, b"abcde"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused(index, value):
    with pytest.raises(ProtocolError):
        records.decode(changed(index, value))


def test_a_large_body_is_not_in_the_record():
    with pytest.raises(LimitError, match="in its record"):
        records.decode(
            msgpack.packb([*GOOD[:5], [["image", "uint8", [INLINE_BYTES + 1]]], {}, bytes(INLINE_BYTES + 1)])
        )


@pytest.mark.fault("media-hostile")
def test_a_body_has_a_limit():
    size = limits.MAX_MEDIA_BYTES + 8
    with pytest.raises(LimitError, match="bytes; at most"):
        records.decode(msgpack.packb([*GOOD[:5], [["image", "float64", [size // 8]]], {}, [0, 0, size]]))


def test_a_product_of_sizes_that_is_beyond_64_bits_is_refused():
    with pytest.raises(LimitError):
        records.decode(msgpack.packb([*GOOD[:5], [["image", "uint8", [1 << 29] * 8]], {}, [0, 0, 1]]))


def test_options_have_a_limit():
    with pytest.raises(LimitError, match="options"):
        records.decode(changed(6, {"caption": "c" * limits.MAX_MEDIA_OPTIONS}))
