from __future__ import annotations

import pytest

from asynclogd.watch import Watch


def test_the_call_that_goes_on_is_told_and_for_how_long() -> None:
    now = [10.0]
    watch = Watch(clock=lambda: now[0])
    assert watch.going_on == ("", 0.0)
    with watch.during("write"):
        now[0] = 52.5
        assert watch.going_on == ("write", 42.5)
    assert watch.going_on == ("", 0.0)


def test_a_call_that_takes_too_long_is_told_of_once_and_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    watch = Watch("mlflow", 60.0, lambda: now[0])
    for timeouts in (1, 2):
        caplog.clear()
        with watch.during("write"):
            now[0] += 59.0
            watch.tell()
            assert (watch.hangs, watch.timeouts, caplog.messages) == (False, timeouts - 1, [])
            now[0] += 2.0
            watch.tell()
            watch.tell()
            assert (watch.hangs, watch.timeouts) == (True, timeouts)
            assert caplog.messages == [
                "mlflow: its write hangs: it has been going on for more than 60 s; other backends go on"
            ]
        assert caplog.messages[1:] == ["mlflow: its write has come back, after 61 s"]
        assert (watch.hangs, watch.timeouts) == (False, timeouts)


def test_a_call_that_fails_is_over() -> None:
    watch = Watch()
    with pytest.raises(OSError, match="away"), watch.during("flush"):
        raise OSError("away")
    assert watch.going_on == ("", 0.0)
