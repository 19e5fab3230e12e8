"""Moments that all processes of a machine share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto.beats import next_beat


@given(now=st.floats(0, 1e8), late=st.floats(0, 0.9), interval=st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]))
def test_a_beat_is_ahead_at_most_an_interval_away_and_nobodys_own(now: float, late: float, interval: float) -> None:
    beat = next_beat(now, interval)
    assert now < beat <= now + interval * (1 + 1e-6)
    middle = next_beat(now, interval) + interval / 2
    assert next_beat(middle + late * interval / 2, interval) == pytest.approx(next_beat(middle, interval))
