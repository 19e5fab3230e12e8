from __future__ import annotations

from dataclasses import replace

from asynclogd import lastvalues
from asynclogd.lastvalues import LastValues
from asynclogd.points import Item, Params
from tests.daemon.tables import table


def after(*items: Item) -> dict[str, float]:
    last = LastValues()
    last.append(enumerate(items, 1))
    return last.values


def test_the_value_of_the_highest_step_counts_in_whatever_order_they_come() -> None:
    assert after(table(5, k=3), table(2), Params({"lr": 0.1}), table(6, names=("a",))) == {"a": 7.0, "b": 7.1}


def test_late_values_of_the_last_step_replace_it() -> None:
    revision = replace(table(7, names=("a",)), revision=True, values=table(9, names=("a",)).values)
    assert after(table(7), revision) == {"a": 9.0, "b": 7.1}


def test_a_resumed_run_begins_where_it_resumes() -> None:
    assert after(table(90), replace(table(10), generation=1)) == {"a": 10.0, "b": 10.1}


def test_there_are_not_more_series_than_its_cap(monkeypatch) -> None:
    monkeypatch.setattr(lastvalues, "MOST_SERIES", 3)
    assert after(table(0, names=tuple("abcde")), table(1, names=("e", "a"))).keys() == {"a", "b", "c"}


def test_a_table_without_steps_changes_nothing() -> None:
    assert after(table(3), table(4, k=0)) == {"a": 3.0, "b": 3.1}
