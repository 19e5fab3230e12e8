"""A real daemon acks what is on disk and not before: its disk is one that is slow to say so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclog_proto.records import Layout, Row
from tests.daemon.speaker import Speaker
from tests.e2e.conftest import Start
from tests.faults.preloaded import built


@pytest.fixture(scope="module")
def slow_sync(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lays itself before libc's fsync."""
    return built("slowsync.c", tmp_path_factory.mktemp("slowsync"))


@pytest.mark.fault("power-lost")
@pytest.mark.parametrize("durability", ["process", "fsync"])
def test_an_ack_waits_for_the_disk_where_it_has_to(
    durability: str, slow_sync: Path, start: Start, tmp_path: Path, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    hold = tmp_path / "hold"
    command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--durability", durability]
    start(*command, LD_PRELOAD=str(slow_sync), HOLD_SYNC=str(hold))
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    with Speaker(runtime_dir, tmp_path, "a0", launch="first") as speaker:
        speaker.hello({})
        speaker.say(Layout(0, ("x",)))
        hold.touch()
        speaker.begin_to_say(Row(0, 7, 0.0, 1.0, (0.5,)))
        if durability == "process":
            assert speaker.is_acked(30)
        else:
            assert not speaker.is_acked(0.5)
            hold.unlink()
            assert speaker.is_acked(30)
