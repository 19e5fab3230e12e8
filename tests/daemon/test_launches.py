"""Which launch a stream is of, by when it began and who of its rank has ended."""

from __future__ import annotations

import pytest

from asynclog_proto.frames import Hello
from asynclog_proto.messages import REJOINED
from asynclogd.entries import Stream
from asynclogd.launches import has_come_again, later, launch_of


def hello(launch: str = "L", rank: int = 0) -> Hello:
    return Hello("p", "run", "/tmp", rank, 2, "new", launch, 0, 1, "host")


def stream(launch: str, began: float, state: str = "ended", rank: int = 0) -> Stream:
    return Stream(1, rank, 2, f"{launch}{began}", launch, "host", 1, "", "", state=state, began=began)


@pytest.mark.parametrize(("began", "launch"), [(0.5, "L"), (1.0, "L#2"), (1.5, "L#2"), (2.5, "L#3"), (9.0, "L#3")])
def test_a_stream_is_of_the_first_launch_in_which_none_of_its_rank_had_ended_that_began_before_it(
    began: float, launch: str
) -> None:
    assert launch_of(hello(), began, [stream("L#2", 2.0), stream("L", 1.0)]) == launch


@pytest.mark.parametrize("other", [stream("L", 1.0, "live"), stream("L", 1.0, "dead"), stream("L", 1.0, rank=1)])
def test_a_rank_that_has_not_ended_goes_on(other: Stream) -> None:
    assert launch_of(hello(), 2.0, [other]) == "L"


@pytest.mark.parametrize("state", ["live", "dead"])
def test_a_process_whose_end_was_heard_when_the_next_one_had_come_has_not_ended_the_launch(state: str) -> None:
    assert launch_of(hello(), 3.0, [stream("L", 1.0), stream("L", 2.0, state)]) == "L"


def test_ranks_come_and_go_in_a_launch_that_says_so() -> None:
    name = "L" + REJOINED
    assert launch_of(hello(name), 2.0, [stream(name, 1.0)]) == name


def test_a_stream_of_an_older_journal_began_before_all_others() -> None:
    assert launch_of(hello(), 0.5, [stream("L", 0.0)]) == "L#2"


def test_a_rank_has_come_again_when_a_later_one_of_it_is_in_the_launch() -> None:
    one = stream("L", 1.0, "live")
    others = [one, stream("L", 0.5), stream("L#2", 2.0), stream("L", 2.0, rank=1)]
    assert not has_come_again(one, others)
    assert has_come_again(one, [*others, stream("L", 1.5, "live")])


def test_who_says_hello_is_later_than_all_of_its_rank_also_when_the_clock_was_set_back() -> None:
    assert later(5.0, 0, [stream("L", 1.0)]) == 5.0
    one = stream("L", 9.0)
    assert has_come_again(one, [stream("L", later(5.0, 0, [one]))])
