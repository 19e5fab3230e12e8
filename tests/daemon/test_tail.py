from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.points import Item
from asynclogd.tail import TailLog, item_bytes
from tests.daemon.tables import table


@pytest.mark.cap("tail")
@given(sizes=st.lists(st.integers(1, 40), max_size=30), cap=st.integers(0, 20_000), data=st.data())
def test_a_tail_gives_every_item_from_memory_or_from_elsewhere(sizes: list[int], cap: int, data: st.DataObject) -> None:
    items: list[Item] = [table(0, k=size) for size in sizes]
    journal = list(enumerate(items, 1))
    tail = TailLog(lambda after, _: journal[after : after + 3], 0, max_bytes=cap)
    for offset, item in journal:
        tail.append(offset, item)
        assert tail.bytes_used <= cap
    assert tail.last_offset == len(items)
    after, read = data.draw(st.integers(0, len(items))), []
    expected = journal[after:]
    while batch := tail.read(after, data.draw(st.integers(0, 10_000))):
        read += batch
        after = batch[-1][0]
    assert [(offset, id(item)) for offset, item in read] == [(offset, id(item)) for offset, item in expected]


def test_a_tail_helps_out_about_as_many_bytes_as_asked() -> None:
    tail = TailLog(lambda *_: [], 0)
    for offset in range(1, 101):
        tail.append(offset, table(offset, k=10))
    size = item_bytes(table(0, k=10))
    assert [offset for offset, _ in tail.read(10, 5 * size)] == [11, 12, 13, 14, 15]
    assert [offset for offset, _ in tail.read(10, 1)] == [11]


def test_a_tail_that_begins_late_reads_what_is_older_elsewhere() -> None:
    tail = TailLog(lambda after, _: [(after + 1, table(after))], 5)
    assert [offset for offset, _ in tail.read(3, 1 << 20)] == [4]
    tail.append(6, table(6))
    assert [offset for offset, _ in tail.read(5, 1 << 20)] == [6]
    assert tail.read(6, 1 << 20) == []


def test_a_hole_in_the_order_is_refused() -> None:
    with pytest.raises(ValueError, match="item 7 cannot follow item 5"):
        TailLog(lambda *_: [], 5).append(7, table(0))
