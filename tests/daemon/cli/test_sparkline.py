from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.cli.sparkline import LEVELS, sparkline
from asynclogd.course import Course, Layout


def course(values: list[float], stride: int = 1) -> Course:
    layout = Layout(1)
    for at, value in enumerate(values):
        layout.take(np.array([at * stride]), np.array([[value]]), np.array([[True]]))
    (made,) = layout.courses()
    return made


def test_a_line_rises_from_the_lowest_to_the_highest_block() -> None:
    assert sparkline(course([0, 1, 2, 3, 4, 5, 6, 7])) == LEVELS


def test_one_spike_among_many_steps_is_seen() -> None:
    values = [1.0] * 10_000
    values[4_321] = 9.0
    values[8_000] = -7.0
    line = sparkline(course(values), 20)
    assert (line.count("█"), line.count("▁")) == (1, 1)
    assert line.index("█") < line.index("▁")


def test_a_constant_is_a_line_in_the_middle() -> None:
    assert sparkline(course([3.0] * 5)) == "▄▄▄▄▄"


def test_where_nothing_is_finite_it_says_so_and_where_nothing_is_it_is_blank() -> None:
    assert sparkline(course([0.0, math.nan, 1.0])) == "▁!█"
    assert sparkline(course([math.inf])) == "!"
    assert sparkline(course([0.0, 1.0], stride=3)) == "▁  █"


def test_numbers_whose_range_no_float_holds_have_a_line_too() -> None:
    assert sparkline(course([-1.7e308, 0.0, 1.7e308])) == "▁▅█"


@given(values=st.lists(st.floats(), min_size=1, max_size=50), stride=st.integers(1, 10**6), width=st.integers(1, 40))
def test_it_is_never_wider_than_asked_for_and_shows_both_extremes(values: list[float], stride: int, width: int) -> None:
    line = sparkline(course(values, stride), width)
    assert len(line) <= width
    finite = {value for value in values if math.isfinite(value)}
    assert not finite or set(line) & set(LEVELS)
