from __future__ import annotations

from asynclogd.backends import _taken
from asynclogd.backends._taken import Taken


def test_what_was_taken_after_a_position_is_known_when_it_is_gone_back_to():
    taken = Taken()
    taken.add(["a"])
    assert taken.flush() == 1
    taken.add(["b"])
    assert taken.flush() == 2
    taken.add(["c"])
    taken.go_back(1)
    assert [key in taken for key in "abc"] == [False, True, True]
    assert taken.flush() == 2
    taken.go_back(1)
    assert [key in taken for key in "abc"] == [False, True, True]
    taken.go_back(2)
    assert [key in taken for key in "abc"] == [False, False, False]


def test_a_position_of_an_earlier_process_knows_nothing():
    taken = Taken()
    taken.go_back(17)
    assert "a" not in taken
    assert taken.flush() == 18


def test_the_oldest_are_forgotten_but_never_those_since_the_last_two_positions():
    taken = Taken()
    for number in range(10):
        taken.add((number, each) for each in range(_taken.MOST // 4))
        taken.flush()
    known = [number for number in range(10) if (number, 0) in taken]
    assert known == [6, 7, 8, 9]
    taken.add((10, each) for each in range(2 * _taken.MOST))
    taken.flush()
    assert [number for number in range(11) if (number, 0) in taken] == [10]
