from __future__ import annotations

import pytest

from asynclogd.watch import Watch


def test_the_call_that_goes_on_is_told_and_for_how_long() -> None:
    now = [10.0]
    watch = Watch(lambda: now[0])
    assert watch.going_on == ("", 0.0)
    with watch.during("write"):
        now[0] = 52.5
        assert watch.going_on == ("write", 42.5)
    assert watch.going_on == ("", 0.0)


def test_a_call_that_fails_is_over() -> None:
    watch = Watch()
    with pytest.raises(OSError, match="away"), watch.during("flush"):
        raise OSError("away")
    assert watch.going_on == ("", 0.0)
