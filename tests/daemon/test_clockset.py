"""Whether the wall clock was set."""

from __future__ import annotations

import pytest

from asynclogd.clockset import ClockSet

WALL, NOW = 1.8e9, 1000.0


def test_a_clock_that_goes_was_not_set() -> None:
    clock = ClockSet(WALL, NOW)
    for passed in range(0, 10**7, 10**5):
        wall = WALL + passed * 1.000001  # it is slewed
        assert clock.noticed(wall, NOW + passed) == 0


@pytest.mark.parametrize("move", [86_400.0, -86_400.0, 2.0])
def test_it_is_noticed_once_by_how_much_it_was_set(move: float) -> None:
    clock = ClockSet(WALL, NOW)
    assert not clock.since_begun(WALL + 5, NOW + 5)
    assert clock.since_begun(WALL + 6 + move, NOW + 6)
    assert clock.noticed(WALL + 7 + move, NOW + 7) == move
    assert clock.noticed(WALL + 8 + move, NOW + 8) == 0
    assert not clock.since_begun(WALL + 8 + move, NOW + 8)
