from __future__ import annotations

from asynclogd.refusals import Refusal, RefusedError
from asynclogd.suspects import Suspects


def test_one_of_a_range_is_looked_for_in_that_range_alone() -> None:
    suspects = Suspects()
    assert not suspects
    suspects.between(3, 6)
    assert [offset for offset in range(10) if offset in suspects] == [4, 5, 6]


def test_a_refused_item_stays_one_until_the_cursor_has_passed_it() -> None:
    suspects = Suspects()
    suspects.between(3, 6)
    suspects.add(RefusedError(5, 0, "a bad step"))
    suspects.passed(4, may_come_again=False)
    assert 6 in suspects
    suspects.passed(6, may_come_again=False)
    assert not suspects
    assert suspects.refusals == {}


def test_it_is_kept_where_it_may_come_again() -> None:
    suspects = Suspects()
    suspects.between(3, 6)
    suspects.add(RefusedError(5, 1, "a bad step"))
    suspects.passed(6, may_come_again=True)
    assert [offset for offset in range(10) if offset in suspects] == [5]
    assert suspects.refusals == {(5, 1): [Refusal("a bad step")]}
