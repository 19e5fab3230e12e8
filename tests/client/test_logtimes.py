from __future__ import annotations

from asynclog.logtimes import KEPT, LogTimes


def test_before_a_call_was_timed_nothing_is_known() -> None:
    times = LogTimes()
    times.add(None)
    assert times.quantiles() == (None, None)


def test_quantiles_are_of_the_calls() -> None:
    times = LogTimes()
    for number in range(100, 0, -1):
        times.add(float(number))
    assert times.quantiles() == (50.0, 99.0)


def test_old_calls_are_forgotten() -> None:
    times = LogTimes()
    for _ in range(KEPT + 7):
        times.add(8.0)
    for _ in range(KEPT - 10):
        times.add(2.0)
    assert times.quantiles() == (2.0, 8.0)
    for _ in range(10):
        times.add(2.0)
    assert times.quantiles() == (2.0, 2.0)
