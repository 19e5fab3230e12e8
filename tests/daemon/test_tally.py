from __future__ import annotations

import pytest

from asynclogd.tally import Climb


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
