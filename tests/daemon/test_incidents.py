"""Which lines of a storm are shown. The times are told, not waited for."""

from __future__ import annotations

import logging

from asynclogd.incidents import LONGEST_PERIOD, MOST_KINDS, Storms, about, of


def line(incident: str = "message-refused", level: int = logging.WARNING, **told: object) -> logging.LogRecord:
    record = logging.LogRecord("asynclogd.x", level, "", 0, "refused: %s", ("it",), None)
    record.__dict__.update(about(incident, **told))  # type: ignore[arg-type]  # as the test says them
    return record


def test_of_a_storm_one_line_is_shown_and_then_how_many_more_there_were() -> None:
    storms = Storms()
    shown = [storms.shows(line(), now=0.001 * at) for at in range(1000)]
    assert (shown[0], sum(shown)) == (True, 1)
    assert storms.over(5.0) == [], "its period is not over"
    (more,) = storms.over(10.0)
    assert more.getMessage() == "refused: it (999 more like it in 10 s)"
    assert of(more).count == 999


def test_a_storm_that_goes_on_is_told_of_more_and_more_seldom() -> None:
    storms, told = Storms(), []
    for second in range(3600):
        assert storms.shows(line(), second) is (second == 0)
        told += [(second, of(more).count) for more in storms.over(second)]
    assert told[:3] == [(10, 10), (30, 20), (70, 40)]
    assert [then - before for (before, _), (then, _) in zip(told[-3:], told[-2:], strict=False)] == [LONGEST_PERIOD] * 2


def test_what_happens_again_after_a_quiet_period_is_shown_at_once() -> None:
    storms = Storms()
    assert storms.shows(line(), 0.0)
    assert storms.over(10.0) == []
    assert storms.shows(line(), 10.5)
    assert storms.shows(line(), 30.0), "nobody asked what is over meanwhile"
    assert not storms.shows(line(), 30.1)


def test_incidents_runs_and_backends_are_counted_apart_and_ranks_together() -> None:
    storms = Storms()
    kinds = [
        line("a"),
        line("b"),
        line("a", run="p/r"),
        line("a", run="p/q"),
        line("a", run="p/r", backend="csv"),
    ]
    assert [storms.shows(each, 0.0) for each in kinds] == [True] * 5
    assert not storms.shows(line("a", run="p/r", rank=3), 0.0)


def test_what_a_line_counts_is_added_up() -> None:
    storms = Storms()
    for count in (7, 20, 300):
        storms.shows(line("records-lost", count=count), 0.0)
    assert [of(more).count for more in storms.over(10.0)] == [320]


def test_lines_below_a_warning_are_all_shown() -> None:
    storms = Storms()
    assert all(storms.shows(line(level=logging.INFO), 0.0) for _ in range(10))


def test_countless_kinds_share_a_line_and_leave_room_when_they_are_over() -> None:
    storms = Storms()
    shown = [storms.shows(line(run=f"p/{number}"), 0.0) for number in range(3 * MOST_KINDS)]
    assert sum(shown) == MOST_KINDS + 1
    assert [of(more).count for more in storms.over(10.0)] == [2 * MOST_KINDS - 1]
    assert storms.shows(line(run="p/later"), 10.5)


def test_an_sdks_line_is_of_the_kind_of_its_text_without_arguments() -> None:
    storms = Storms()
    records = [logging.LogRecord("sdk", logging.ERROR, "", 0, "retry %d", (number,), None) for number in range(3)]
    assert [storms.shows(record, 0.0) for record in records] == [True, False, False]
    assert [more.getMessage() for more in storms.over(10.0)] == ["retry 2 (2 more like it in 10 s)"]


def test_an_sdks_line_with_wrong_arguments_ends_no_other_ones_count() -> None:
    storms = Storms()
    for args in ((1,), ("x",), ("y",)):
        storms.shows(logging.LogRecord("sdk", logging.ERROR, "", 0, "retry %d", args, None), 0.0)
        storms.shows(line("journal-refuses"), 0.0)
    assert [more.getMessage().partition(" (")[2] for more in storms.over(10.0)] == ["2 more like it in 10 s)"] * 2
