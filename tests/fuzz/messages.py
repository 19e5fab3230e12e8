"""Target: the frames of one message. What is taken is written again, and read as the same."""

from __future__ import annotations

from asynclog_proto import frames
from asynclog_proto.errors import ProtocolError
from asynclog_proto.frames import Batch
from asynclog_proto.limits import MAX_REPORT_BYTES
from tests.fuzz.pieces import split

LONGEST_ERROR = 600
"""Characters: a peer does not fill our log."""


def run(data: bytes) -> None:
    """`data` is the frames, as pieces."""
    try:
        message, payload = frames.decode(split(data, 3), max_header=MAX_REPORT_BYTES)
    except ProtocolError as error:
        assert len(str(error)) < LONGEST_ERROR, "an error's text without end"
        return
    written = frames.encode(message, payload if isinstance(message, Batch) else None)
    again, same = frames.decode(written, max_header=MAX_REPORT_BYTES)
    # Bytes and not objects are compared: NaN is not equal to itself.
    assert frames.encode(again, same if isinstance(again, Batch) else None) == written
    assert same == payload
