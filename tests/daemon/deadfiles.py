"""Files of dead streams, written without a client."""

from __future__ import annotations

import sys
from pathlib import Path

from asynclog_proto import frames, records, ringfile, spoolfile

HELLO = frames.Hello(
    project="p", name="n", dir="/d", rank=0, world_size=1, incarnation="a", launch="l", first_seq=0, pid=1, host="h"
)
HELLO_BYTES = bytes(frames.encode(HELLO)[0])


def row(step: int, time: float = 0.0) -> bytes:
    return records.encode(records.Row(0, step, time, 1.0, (float(step),)))


def ring_with(rows: list[bytes], capacity: int = 1 << 16) -> bytes:
    data = bytearray(ringfile.header(capacity, HELLO_BYTES) + bytes(capacity))
    body = b"".join(rows)
    data[ringfile.HEADER : ringfile.HEADER + len(body)] = body
    data[ringfile.HEAD : ringfile.HEAD + 8] = len(body).to_bytes(8, sys.byteorder)
    return bytes(data)


def write_spool(directory: Path, segments: list[bytes]) -> None:
    directory.mkdir(parents=True)
    for number, segment in enumerate(segments, 1):
        (directory / f"{number:08d}{spoolfile.SUFFIX}").write_bytes(segment)


def segment(first: int, rows: list[bytes]) -> bytes:
    return spoolfile.start(HELLO_BYTES) + spoolfile.entry(first, len(rows), b"".join(rows))
