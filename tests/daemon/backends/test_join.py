from __future__ import annotations

from dataclasses import replace

from asynclogd.backends._join import joined
from asynclogd.points import Item, Points, RunEnd
from asynclogd.testing import content, table


def test_neighbours_of_the_same_series_become_one_and_order_stays():
    end = RunEnd("success")
    items: list[Item] = [table(["a"], [0]), table(["a"], [1, 2]), end]
    items += [table(["a"], [3]), table(["b"], [3]), table(["b"], [4])]
    found = list(joined(items))
    assert content(found) == content(items)
    assert [len(item) if isinstance(item, Points) else item for item in found] == [3, end, 1, 2]


def test_tables_that_differ_in_more_than_rows_stay_apart():
    plain = table(["a"], [0])
    others = [replace(plain, world=3), table(["a"], [0], revision=True), table(["a"], [0], generation=1)]
    for other in others:
        assert list(joined([plain, other, plain])) == [plain, other, plain]


def test_empty_tables_are_left_out():
    assert list(joined([table(["a"], []), table(["b"], [])])) == []
