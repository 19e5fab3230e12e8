from __future__ import annotations

import click
import pytest

from asynclogd.cli.quantities import ago, bytes_text, duration, number, size


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("45s", 45),
                                                ("2w", 1_209_600), (" 3 D ", 259_200)])  # fmt: skip
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("50G", 50 * 2**30), ("1.5k", 1536), ("1000", 1000), ("2TiB", 2**41),
                                              ("500 MB", 500 * 2**20)])  # fmt: skip
def test_a_size_is_a_number_and_perhaps_a_unit(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "30 years", "1e3s", "nan d"])
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="like 30d or 12h"):
        duration(text)


@pytest.mark.parametrize("text", ["", "G", "-1G", "10 X", "1 2"])
def test_what_is_no_size_is_told_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="like 50G or 500M"):
        size(text)


def test_they_are_written_as_people_read_them() -> None:
    assert [bytes_text(n) for n in (0, 1536, 3 * 2**20, 5 * 2**40)] == ["0 B", "1.5 KiB", "3.0 MiB", "5.0 TiB"]
    assert [ago(s) for s in (-1, 3, 30, 120, 7200, 200_000)] == [
        "now",
        "now",
        "30 s ago",
        "2 min ago",
        "2 h ago",
        "2 d ago",
    ]
    assert [number(v) for v in (0.1, 1e-12, 123456.7, float("nan"))] == ["0.1", "1e-12", "1.2346e+05", "nan"]
