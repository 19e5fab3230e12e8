from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto import event_pb2

from asynclogd.backends import _tfevents

NAMES = st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5, unique=True)
STEPS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4)


@given(NAMES, STEPS, st.data())
def test_rows_are_the_events_that_protobuf_would_write(names, steps, data):
    values = [[data.draw(st.floats(width=32)) for _ in names] for _ in steps]
    times = [1.5 * at for at in range(len(steps))]
    (frames,) = _tfevents.scalar_events(
        _tfevents.template(names), np.array(steps, np.int64), np.array(times), np.array(values)
    )
    for frame, step, time, row in zip(np.asarray(frames), steps, times, values, strict=True):
        event = event_pb2.Event.FromString(frame.tobytes()[12:-4])
        assert (event.step, event.wall_time) == (step, time)
        assert [value.tag for value in event.summary.value] == names
        assert repr([value.simple_value for value in event.summary.value]) == repr(row)


def test_tensorboards_reader_accepts_every_checksum(tmp_path: Path):
    path = tmp_path / "events.out.tfevents.1"
    steps, values = np.arange(50), np.random.default_rng(1).normal(size=(50, 7))
    row = _tfevents.template([f"n{i}" for i in range(7)])
    rows = _tfevents.scalar_events(row, steps, np.linspace(0.0, 1.0, 50), values)
    head = _tfevents.event(1.0, 0, _tfevents.VERSION)
    path.write_bytes(head + b"".join(rows) + _tfevents.restart(3.0, 20))
    events = list(LegacyEventFileLoader(str(path)).Load())
    assert len(events) == 52
    assert events[0].file_version == "brain.Event:2"
    assert events[-1].session_log.status == event_pb2.SessionLog.START
    assert events[-1].step == 20


def test_large_tables_come_in_several_chunks():
    names = [f"layer{i}/{'x' * 50}" for i in range(1000)]
    chunks = _tfevents.scalar_events(_tfevents.template(names), np.arange(200), np.zeros(200), np.zeros((200, 1000)))
    assert len(chunks) > 1
    assert sum(len(chunk) for chunk in chunks) == 200


def test_masked_crc_of_the_reference_vector():
    """32 zero bytes have CRC-32C 8a9136aa (RFC 3720, B.4)."""
    crc = 0x8A9136AA
    assert _tfevents.masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
