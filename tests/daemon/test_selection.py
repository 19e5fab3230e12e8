from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto.errors import ConfigError
from asynclogd.fanout import choose
from asynclogd.points import Blob, Media, Points
from asynclogd.ratelimit import RateLimiter
from asynclogd.selection import Selection
from tests.daemon.filebackend import FileBackend
from tests.daemon.tables import NAMES, STEPS, points, table

PATTERNS = st.lists(st.sampled_from(["*", "a*", "[a-m]*", "no such"]) | NAMES, max_size=3)


def image(name: str, step: int) -> Media:
    return Media(name, step, 0.0, "image", "image/png", {}, Blob("", 1, 0, 1))


@given(tables=st.lists(points(), max_size=4), patterns=PATTERNS, since=st.none() | STEPS)
def test_what_goes_in_goes_out_when_it_fits_and_is_counted_when_not(
    tables: list[Points], patterns: list[str], since: int | None
) -> None:
    def fits(name: str, step: int) -> bool:
        named = not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
        return named and (since is None or step >= since)

    selection = Selection(RateLimiter({}), patterns, since)
    out = [part for each in tables for part in selection.shape(each)]
    given_points = [repr(point) for each in tables for point in each if fits(point.name, point.step)]
    assert [repr(point) for part in out for point in part] == given_points
    assert selection.limited == sum(each.logged_total for each in tables) - sum(part.logged_total for part in out)


def test_it_has_the_state_of_the_rate_limit_within() -> None:
    rules = {"a": 0.001}
    first = Selection(RateLimiter(rules), ["a"], 2)
    assert first.shape(table(1, names=("a", "b"))) == first.shape(table(3, names=("a", "b"))) == []
    assert (first.limited, first.held) == (6, 2)
    again = Selection(RateLimiter(rules), ["a"], 2)
    again.restore(first.state())
    assert (again.limited, again.held) == (0, 2)
    (held,) = again.flush()
    assert (held.names, held.steps.tolist()) == (("a",), [3])


def test_media_are_selected_by_name_and_step_too() -> None:
    selection = Selection(RateLimiter({}), ["val/*"], 5)
    assert selection.shows(image("val/sample", 5))
    assert not selection.shows(image("val/sample", 4))
    assert not selection.shows(image("train/sample", 5))


def test_names_and_since_are_options_of_every_backend() -> None:
    limiter = choose("file", {"names": "val/*", "since": "3"}, lambda *_: FileBackend()).limiter
    assert limiter.shape(table(2, names=("val/a",))) == []
    (shown,) = limiter.shape(table(3, names=("val/a", "train/a")))
    assert shown.names == ("val/a",)


@pytest.mark.parametrize("options", [{"names": 3}, {"names": [1]}, {"since": "soon"}, {"since": 1.5}])
def test_wrong_ones_are_named(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"backend 'file': option '{name}': .*allowed"):
        choose("file", options, lambda *_: FileBackend())
