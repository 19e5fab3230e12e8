"""When processes began, by their order and by clocks that may have been set."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import places
from asynclogd import begun

DAY = 86_400.0
NOW = 1.8e9

TIMES = st.floats(NOW - 10 * DAY, NOW + 10 * DAY)


def test_the_order_is_that_of_the_lines(tmp_path: Path) -> None:
    assert begun.order(tmp_path) == []
    places.begun_path(tmp_path).write_bytes(b"\nb\n\na\n\nb\n\n\xff\n\ncut")
    assert begun.order(tmp_path) == ["b", "a", "\ufffd", "cut"]


def test_of_a_long_file_the_newest_are_told(tmp_path: Path) -> None:
    with places.begun_path(tmp_path).open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\na\n\nb\n")
    assert begun.order(tmp_path)[-2:] == ["a", "b"]


def test_what_is_no_file_tells_nothing(tmp_path: Path) -> None:
    os.mkfifo(places.begun_path(tmp_path))
    assert begun.order(tmp_path) == []


def test_who_was_overtaken_began_before_the_first_that_is_after_it() -> None:
    order = ["a", "b", "c", "d"]
    assert begun.overtaken("a", {"b": NOW, "c": NOW + 1}, order) == NOW - begun.APART
    assert begun.overtaken("b", {"a": NOW, "d": NOW + 1}, order) == NOW + 1 - begun.APART
    assert begun.overtaken("d", {"a": NOW, "b": NOW + 1}, order) is None
    assert begun.overtaken("unknown", {"a": NOW}, order) is None


def test_times_that_agree_with_the_order_are_as_they_were() -> None:
    began = {"a": NOW, "b": NOW + 1, "d": NOW + 9}
    assert begun.settled(began, {"c": NOW + 5}, ["a", "b", "c", "d"]) == began
    assert begun.settled(began, {}, []) == began


def test_a_process_whose_clock_had_been_set_back_is_behind_the_one_before() -> None:
    moved = begun.settled({"a": NOW, "b": NOW - DAY}, {}, ["a", "b"])
    assert moved["a"] < moved["b"]


def test_a_process_is_before_and_behind_those_that_were_heard_whatever_its_clock_said() -> None:
    for ahead in (-DAY, DAY):
        moved = begun.settled({"b": NOW + ahead}, {"a": NOW - 10, "c": NOW}, ["a", "b", "c"])
        assert NOW - 10 < moved["b"] < NOW


def test_a_process_that_left_no_row_or_is_not_in_the_order_tells_nothing_of_others() -> None:
    began = {"a": math.inf, "b": NOW - DAY, "x": NOW + DAY}
    assert begun.settled(began, {}, ["a", "b"]) == began


@given(st.permutations("abcdef"), st.dictionaries(st.sampled_from("abcdef"), TIMES))
def test_those_of_whom_nobody_heard_are_in_their_order(order: list[str], began: dict[str, float]) -> None:
    moved = begun.settled(began, {}, order)
    times = [moved[each] for each in order if each in began]
    assert all(first < second for first, second in pairwise(times))
    assert begun.settled(moved, {}, order) == moved
