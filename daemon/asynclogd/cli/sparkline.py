"""A series in one line of block characters, its spikes kept. Pure."""

from __future__ import annotations

import statistics

from asynclogd.course import Bucket, Course

LEVELS = "▁▂▃▄▅▆▇█"
ODD = "!"
"""Where nothing but NaN or infinities is."""

GAP = " "


def sparkline(course: Course, width: int = 32) -> str:
    """At most `width` characters, from the first step to the last.

    A character stands for some steps. Of their lowest and their highest value it shows the one that is further from
    the series' middle, so that a single spike is seen however many steps there are. `!` is where no value is finite,
    and a blank where there is none.
    """
    columns = _columns(course, width)
    finite = [column for column in columns if column is not None and column.low <= column.high]
    if not finite:
        return "".join(GAP if column is None else ODD for column in columns)
    middle = statistics.median((column.low + column.high) / 2 for column in finite)
    low, high = min(column.low for column in finite), max(column.high for column in finite)
    return "".join(_character(column, middle, low, high) for column in columns)


def _columns(course: Course, width: int) -> list[Bucket | None]:
    if not course.buckets:
        return []
    first = min(course.buckets)
    count = max(course.buckets) - first + 1
    columns: list[Bucket | None] = [None] * min(width, count)
    for key, bucket in course.buckets.items():
        at = (key - first) * len(columns) // count
        there = columns[at]
        columns[at] = bucket if there is None else there + bucket
    return columns


def _character(column: Bucket | None, middle: float, low: float, high: float) -> str:
    if column is None:
        return GAP
    if column.low > column.high:
        return ODD
    if low == high:
        return LEVELS[len(LEVELS) // 2 - 1]
    value = column.high if column.high - middle >= middle - column.low else column.low
    # Halves: the range of two large numbers may be more than a float holds.
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return LEVELS[round(share * (len(LEVELS) - 1))]
