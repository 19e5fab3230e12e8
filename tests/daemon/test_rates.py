from __future__ import annotations

import math

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd.rates import Rate, parse


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, {}),
        (10, {"*": Rate(10)}),
        ("2.5", {"*": Rate(2.5)}),
        ({"train/*": 1, "*": math.inf}, {"train/*": Rate(1), "*": Rate()}),
        ({"a": {"points_per_second": 1, "burst": 60, "min_interval": 0.1}}, {"a": Rate(1, 60, 0.1)}),
        ({"a": {"min_interval": "0.5"}}, {"a": Rate(min_interval=0.5)}),
    ],
)
def test_a_number_a_table_of_numbers_and_a_table_of_tables_are_rates(given: object, meant: dict[str, Rate]) -> None:
    assert parse(given) == meant


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("fast", r"'\*': points_per_second: Expected `float`, got `str`"),
        ({"a": {"burst": -1}}, "'a': burst: Expected `int` >= 0"),
        ({"a": {"burst": 5}}, "'a': a burst without points_per_second or min_interval limits nothing"),
        ({"a": {"bursts": 5}}, "'a': it: Object contains unknown field `bursts`"),
        ({"a": {"min_interval": math.nan}}, "'a': min_interval: Expected `float` >= 0"),
        ({"a": None}, "'a': points_per_second: Expected `float`, got `null`"),
    ],
)
def test_what_is_wrong_is_named(given: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(given)


def test_the_smaller_of_rate_and_interval_counts() -> None:
    assert Rate(10, 0, 1.0).steady == 1.0
    assert Rate(0.1, 0, 1.0).steady == 0.1
    assert Rate().steady == math.inf


def test_a_services_limits_come_after_the_users() -> None:
    assert list(parse({"b": 1}, {"a": 2.0, "b": 3.0, "*": 4.0}).items()) == [
        ("b", Rate(1)),
        ("a", Rate(2)),
        ("*", Rate(4)),
    ]
