from __future__ import annotations

import pytest

from asynclog_proto.records import Scalar
from asynclogd import tally
from asynclogd.tally import Climb, Tally


@pytest.mark.parametrize(
    ("launch", "before", "top", "found"),
    [
        ("first", None, 9, {"first": None, "second": 9}),
        ("second", 9, 20, {"second": 9, "third": 20}),
        (None, None, None, {"first": None}),
    ],
)
def test_a_launch_finds_the_highest_step_of_those_before_it(
    launch: str | None, before: int | None, top: int | None, found: dict[str, int | None]
) -> None:
    climb = Climb(launch, before, top)
    assert {each: climb.before_launch(each) for each in found} == found


@pytest.mark.cap("facts")
def test_params_and_summaries_that_have_no_room_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known may change, though not grow; both share the room."""
    monkeypatch.setattr(tally, "MOST_FACT_BYTES", 1000)
    run = Tally()
    for number in range(10):
        told: dict[str, Scalar] = {f"p{number}": number}
        assert run.take(run.params, told) == (told if number < 9 else {})
    assert list(run.params) == [f"p{number}" for number in range(9)]
    assert run.take(run.params, {"p0": 7, "p1": "long" * 10, "p2": 2, "p11": None}) == {"p0": 7}
    assert run.take(run.summary, {"s": 1.0}) == {}
    assert run.params["p1"] == 1
    assert run.facts_dropped == 4
    before = run.fact_bytes
    assert before <= 1000
    run.weigh()
    assert run.fact_bytes == before
