"""Which tables come of rows of several layouts."""

from __future__ import annotations

from asynclog_proto.records import Record
from asynclogd.decode import StreamDecoder
from asynclogd.rows import Rows
from tests.daemon.test_decode import AB, BC, CD, expected, payload, row, series


def test_two_logs_a_step_are_two_tables() -> None:
    said: list[Record] = [AB, CD]
    for step in range(500):
        said += [row(AB, step), row(CD, step)]
    decoded = StreamDecoder().decode(payload(*said))
    assert [table.names for table in decoded if isinstance(table, Rows)] == [("a", "b"), ("c", "d")]
    assert series(decoded) == expected(said)


def test_a_name_of_two_layouts_keeps_the_order_in_which_it_was_logged() -> None:
    said: list[Record] = [AB, BC]
    for step in range(300):
        said += [row(AB, step), row(BC, step, 0.5)]
    decoded = StreamDecoder().decode(payload(*said))
    assert sorted(name for table in decoded if isinstance(table, Rows) for name in table.names) == ["a", "b", "c"]
    assert series(decoded) == expected(said)


def test_rows_of_layouts_with_a_name_in_common_stay_whole_and_in_order() -> None:
    said: list[Record] = [AB, CD, BC, *(row(AB, step) for step in range(3)), row(BC, 3), row(CD, 3), row(AB, 4)]
    tables = [table for table in StreamDecoder().decode(payload(*said)) if isinstance(table, Rows)]
    assert [(table.names, table.steps.tolist()) for table in tables] == [
        (("a", "b"), [0, 1, 2]), (("b", "c"), [3]), (("c", "d"), [3]), (("a", "b"), [4]),
    ]  # fmt: skip


def test_layouts_that_alternate_too_often_share_a_table_of_their_common_names() -> None:
    said: list[Record] = [AB, BC, *(row(layout, step) for step in range(500) for layout in (AB, BC))]
    decoded = StreamDecoder().decode(payload(*said))
    assert sorted(table.names for table in decoded if isinstance(table, Rows)) == [("a",), ("b",), ("c",)]
    assert series(decoded) == expected(said)
