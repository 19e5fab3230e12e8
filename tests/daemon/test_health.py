"""How long a sink waits after a failure: what is waited grows, a service's own wish counts."""

from __future__ import annotations

import pytest

from asynclogd.backends.base import ThrottledError
from asynclogd.delivery import BrokenError, SinkSettings
from asynclogd.entries import Cursor
from asynclogd.health import LONGEST_ASKED, Health

TIMES = SinkSettings(first_retry=1.0, longest_retry=10.0)
LOST = OSError("the file has gone")


def health() -> Health:
    return Health("file", Cursor(), TIMES)


def test_retries_double_up_to_the_longest_each_shortened_by_up_to_a_half() -> None:
    sink = health()
    waits = [sink.failed(OSError("away")) for _ in range(6)]
    for wait, longest in zip(waits, (1, 2, 4, 8, 10, 10), strict=True):
        assert longest / 2 <= wait <= longest


def test_a_backend_that_is_broken_is_tried_at_the_longest_interval() -> None:
    assert 5 <= health().failed(BrokenError("no such project")) <= 10


def test_a_service_is_left_alone_as_long_as_it_asks_for_whatever_the_longest_retry() -> None:
    sink = health()
    assert 40 <= sink.failed(ThrottledError("429", 40.0)) <= 44
    assert sink.failed(ThrottledError("429", -1.0)) == 0
    assert sink.failed(ThrottledError("429", float("inf"))) <= 1.1 * LONGEST_ASKED
    assert sink.status.state == "retrying"
    assert sink.status.error == "ThrottledError: 429"


def test_one_that_does_not_say_how_long_is_a_failure_like_others() -> None:
    sink = health()
    sink.failed(ThrottledError("503"))
    assert 1 <= sink.failed(ThrottledError("503")) <= 2


def test_a_backend_that_starts_over_in_vain_waits_longer_each_time_though_its_writes_go_well() -> None:
    sink = health()
    sink.moved(Cursor(offset=100, position={}), 0, 0, 0)
    for longest in (1, 2, 4, 8, 10):
        assert longest / 2 <= sink.starts_over(LOST) <= longest
        sink.moved(Cursor(offset=100, position={}), 0, 0, 0)
        sink.went_well()
    sink.moved(Cursor(offset=101, position={}), 0, 0, 0)
    assert sink.starts_over(LOST) <= 1
    assert sink.status.started_over == 6


def test_the_status_of_one_that_starts_over_has_nothing_of_its_life_before() -> None:
    sink = health()
    sink.moved(Cursor(offset=3, position={}, delivered=7, dead=2), 1, 2, 3)
    sink.starts_over(LOST)
    status = sink.status
    assert (status.cursor, status.dead_letters, status.unsupported, status.held) == (Cursor(), 0, 0, 0)
    assert (status.state, status.error) == ("retrying", "OSError: the file has gone")


@pytest.mark.parametrize("error", [OSError("a\nb   c"), OSError()])
def test_an_error_is_told_in_one_line(error: OSError) -> None:
    sink = health()
    sink.failed(error)
    assert sink.status.error in {"OSError: a b c", "OSError"}


class MuteError(Exception):
    """As an SDK's whose text needs an answer that never came."""

    def __str__(self) -> str:
        raise AttributeError("'NoneType' object has no attribute 'text'")


def test_an_error_that_can_not_be_asked_what_it_says_is_told_by_its_type() -> None:
    sink = health()
    assert sink.failed(MuteError()) > 0
    assert (sink.status.state, sink.status.error) == ("retrying", "MuteError")


def test_what_an_error_says_can_be_sent_to_whoever_asks_for_the_status() -> None:
    sink = health()
    sink.failed(OSError("no such file: caf\udce9"))
    assert sink.status.error == r"OSError: no such file: caf\udce9"
