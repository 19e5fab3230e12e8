from __future__ import annotations

from dataclasses import fields, replace

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynclog_proto import frames, limits
from asynclog_proto.errors import LimitError, ProtocolError, VersionError
from asynclog_proto.frames import Batch
from tests.proto.strategies import HELLO, counts, messages, plain


def header(message: frames.Message, *, version: int = frames.VERSION, drop: str = "", **changes: object) -> bytes:
    """The header of a message, its body changed."""
    body = {field.name: getattr(message, field.name) for field in fields(message)} | changes
    body.pop(drop, None)
    packed: bytes = msgpack.packb([version, message.TYPE, body])
    return packed


@given(messages)
def test_a_message_comes_back_as_it_was(message):
    decoded, payload = frames.decode(frames.encode(message))
    assert decoded == message
    assert len(payload) == 0


@given(counts.filter(lambda seq: seq < 1 << 62), st.integers(1, limits.MAX_BATCH_RECORDS), st.binary(min_size=1))
def test_a_batch_carries_its_payload(first_seq, count, payload):
    message, carried = frames.decode(frames.encode(Batch(first_seq, count), payload))
    assert message == Batch(first_seq, count)
    assert carried == payload


@given(st.lists(st.binary(max_size=100), max_size=3))
@example([])
@example([b"\x93\x01\x01\x80"])
@example([b"\x93\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x80"])
@example([b"\x92\x01\x90"])
@example([b"\x93\x01\x90\x80"])
def test_any_frames_are_a_message_or_a_protocol_error(parts):
    decode_or_refuse(parts)


@given(messages, st.data())
def test_a_spoiled_header_is_a_message_or_a_protocol_error(message, data):
    spoiled = bytearray(frames.encode(message)[0])
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse([bytes(spoiled)])


@given(messages, st.data())
def test_a_field_of_any_value_is_checked(message, data):
    name = data.draw(st.sampled_from([field.name for field in fields(message)]))
    decode_or_refuse([header(message, **{name: data.draw(plain | st.binary(max_size=4))})])


def decode_or_refuse(parts: list[bytes]) -> None:
    text = ""
    try:
        message, _ = frames.decode(parts)
        assert type(message) in frames._TYPES.values()
    except ProtocolError as error:
        text = str(error)
    assert len(text) < 600, "a peer does not fill our log"


@pytest.mark.parametrize(
    "changes",
    [
        {"rank": -1},
        {"rank": 2},
        {"rank": True},
        {"world_size": 0},
        {"world_size": limits.MAX_WORLD_SIZE + 1},
        {"first_seq": -1},
        {"first_seq": 1 << 63},
        {"incarnation": ""},
        {"incarnation": "a/b"},
        {"incarnation": "\u0661"},
        {"incarnation": "a" * 33},
        {"project": ".."},
        {"project": "a/b"},
        {"name": ""},
        {"name": "x\n"},
        {"dir": "relative"},
        {"dir": "/a\0b"},
        {"ring": "x.ring"},
        {"spool": "../spool"},
        {"backends": {"csv": 1, "deep": [[[[[[[[[]]]]]]]]]}},
        {"backends": ["csv"]},
        {"backends": {"csv": 1}},
        {"backends": {"csv": ["names"]}},
        {"backends": {"csv": ""}},
        {"drop": "host"},
    ],
)
def test_a_hello_that_could_do_harm_is_refused(changes):
    with pytest.raises(ProtocolError):
        frames.decode([header(HELLO, **changes)])


@pytest.mark.parametrize(
    "batch", [Batch(0, 0), Batch(-1, 1), Batch(0, limits.MAX_BATCH_RECORDS + 1), Batch((1 << 63) - 1, 1)]
)
def test_a_batch_outside_the_numbers_is_refused(batch):
    with pytest.raises(ProtocolError):
        frames.decode([header(batch), b"x"])


@pytest.mark.parametrize("seconds", [-1e-9, float("nan"), float("inf"), 1, "1"])
def test_a_heartbeat_whose_seconds_are_none_is_refused(seconds):
    for name in ("log_p50_s", "log_p99_s"):
        with pytest.raises(ProtocolError, match=name):
            frames.decode([header(frames.Heartbeat(1, 2, {}), **{name: seconds})])


def test_only_a_batch_has_a_payload():
    for parts in ([header(Batch(0, 1))], [header(Batch(0, 1)), b""], [header(HELLO), b"x"], [header(HELLO), b""]):
        with pytest.raises(ProtocolError):
            frames.decode(parts)


@pytest.mark.cap("causes")
@pytest.mark.parametrize("dropped", [{f"cause {n}": 1 for n in range(65)}, {"x" * 101: 1}])
def test_causes_of_drops_have_a_limit(dropped):
    for message in (frames.Heartbeat(0, 0, dropped), frames.Finish(0, dropped)):
        with pytest.raises(LimitError, match="causes"):
            frames.decode([header(message)])


@pytest.mark.cap("sizes")
def test_a_payload_has_a_limit():
    batch, payload = frames.decode([header(Batch(0, 1)), bytes(limits.MAX_BATCH_BYTES)])
    assert (batch, len(payload)) == (Batch(0, 1), limits.MAX_BATCH_BYTES)
    with pytest.raises(LimitError):
        frames.decode([header(Batch(0, 1)), bytes(limits.MAX_BATCH_BYTES + 1)])


def test_a_header_has_a_limit_on_both_sides():
    large = frames.Report({"text": "x" * limits.MAX_HEADER_BYTES})
    parts = frames.encode(large)
    with pytest.raises(LimitError):
        frames.decode(parts)
    assert frames.decode(parts, max_header=limits.MAX_REPORT_BYTES)[0] == large
    with pytest.raises(LimitError):
        frames.encode(replace(HELLO, client="x" * limits.MAX_HEADER_BYTES))


def test_text_that_is_not_unicode_is_not_encoded():
    with pytest.raises(ProtocolError):
        frames.encode(replace(HELLO, dir="/\udcff"))


def test_unknown_fields_are_ignored():
    assert frames.decode([header(HELLO, later={"a": 1})])[0] == HELLO


def test_another_version_is_told_apart_from_nonsense():
    for data in (header(HELLO, version=2), msgpack.packb([2, "other", "form", 1])):
        with pytest.raises(VersionError):
            frames.decode([data])


def test_a_refusal_is_understood_in_every_version():
    refused = frames.Refused("speak 2 or 3", (2, 3))
    assert frames.decode([header(refused, version=3)])[0] == refused


def test_unknown_types_are_refused():
    for kind in (0, 6, 99, -1, "1", None, True):
        with pytest.raises(ProtocolError):
            frames.decode([msgpack.packb([frames.VERSION, kind, {}])])
