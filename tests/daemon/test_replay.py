from __future__ import annotations

from typing import Any

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd.replay import agreed


@pytest.mark.parametrize("delivered", [False, True])
def test_options_are_those_of_before_and_what_is_given_anew(delivered: bool) -> None:
    known = {"project": "a", "token_file": "x", "names": ["loss"]}
    given = {"token_file": "y", "names": ["loss"]}
    assert agreed("b", known, given, delivered=delivered) == {"project": "a", "token_file": "y", "names": ["loss"]}
    assert agreed("b", None, given, delivered=delivered and False) == given


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {"since": 3}, "everything of this run, not --since 3"),
        ({"names": ["a", "b"]}, {}, "--names 'a' --names 'b' of this run, not everything"),
        ({"names": ["a"], "since": 0}, {"names": ["a"]}, "--names 'a' --since 0 of this run, not --names 'a'"),
    ],
)
def test_other_filters_are_refused_once_something_was_delivered(
    before: dict[str, Any], now: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        agreed("b", before, now, delivered=True)
    assert agreed("b", before, now, delivered=False) == now
