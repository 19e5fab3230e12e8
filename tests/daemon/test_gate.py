"""Counting connections, and noticing who is silent while memory grows."""

from __future__ import annotations

import pytest
import zmq

from asynclogd.gate import Gate
from asynclogd.growth import ALARMING_BYTES, WINDOW_SECONDS, Growth

MIB = 1 << 20


def came(gate: Gate, *fds: int, now: float = 0.0) -> list[bool]:
    return [gate.told(zmq.EVENT_ACCEPTED, fd, now) for fd in fds]


@pytest.mark.cap("peers")
def test_who_is_too_many_is_sent_away_and_counts_until_gone() -> None:
    gate = Gate(2)
    assert came(gate, 5, 6, 7) == [True, True, False]
    assert (gate.connections, gate.accepted, gate.sent_away) == (3, 3, 1)
    for fd in (5, 7):
        gate.told(zmq.EVENT_DISCONNECTED, fd, 1.0)
    assert came(gate, 8) == [True]


def test_nobody_comes_in_while_file_descriptors_are_short() -> None:
    gate = Gate(10)
    gate.crowded = True
    assert came(gate, 5) == [False]
    gate.crowded = False
    assert came(gate, 6) == [True]


def test_it_is_told_to_be_full_once_until_there_was_room() -> None:
    gate = Gate(10)
    came(gate, *range(10))
    assert gate.newly_full()
    assert not gate.newly_full()
    gate.told(zmq.EVENT_DISCONNECTED, 0, 1.0)
    assert not gate.newly_full()  # nine of ten: a single one that goes and comes makes no line each time
    gate.told(zmq.EVENT_DISCONNECTED, 1, 1.0)
    assert not gate.newly_full()
    came(gate, 20, 21)
    assert gate.newly_full()


def test_strangers_and_bad_handshakes_are_counted_apart() -> None:
    gate = Gate(10)
    gate.told(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400, 0.0)
    gate.told(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, 1, 0.0)
    gate.told(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, 1, 0.0)
    assert (gate.strangers, gate.bad_handshakes) == (1, 2)


def test_silent_is_who_has_completed_no_message_since() -> None:
    gate = Gate(10)
    came(gate, 5, 6, now=1.0)
    came(gate, 7, now=3.0)
    gate.hear(6, 4.0)
    gate.hear(99, 4.0)  # its connection has gone meanwhile
    assert gate.silent_since(2.0) == [5]
    assert gate.silent_since(3.5) == [5, 7]


def test_growth_is_told_with_the_moment_since_when_and_once() -> None:
    growth = Growth()
    rss = 100 * MIB
    assert growth.since(0.0, rss) is None
    assert growth.since(1.0, rss + ALARMING_BYTES // 2) is None
    assert growth.since(2.0, rss + ALARMING_BYTES) == 0.0
    assert growth.since(3.0, rss + ALARMING_BYTES + MIB) is None


def test_the_latest_moment_counts_so_that_few_are_suspected() -> None:
    growth = Growth()
    for second in range(10):
        growth.since(float(second), 100 * MIB)
    assert growth.since(10.0, 100 * MIB + ALARMING_BYTES) == 9.0


def test_slow_growth_is_nobody_s_doing() -> None:
    growth = Growth()
    step = ALARMING_BYTES / WINDOW_SECONDS * 0.9
    assert [growth.since(float(second), int(second * step)) for second in range(1000)] == [None] * 1000
