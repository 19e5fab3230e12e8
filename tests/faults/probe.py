"""A record that is logged when a fault is over, and gets through."""

from __future__ import annotations

from pathlib import Path

from asynclog_proto.records import Layout, Row
from tests.daemon.speaker import Speaker
from tests.e2e.balance import expect_balanced
from tests.e2e.oracle import csv_series


def expect_to_get_through(runtime: Path, root: Path) -> None:
    """By the daemon in `runtime`, from a hello to the file, in a run of its own below `root`."""
    with Speaker(runtime, root, "probe", launch="probe", name="probe") as speaker:
        speaker.hello({"csv": {}})
        speaker.say(Layout(0, ("loss",)), Row(0, 7, 0.0, 1.0, (0.5,)))
        assert speaker.end(1).complete
    assert csv_series(root / "p" / "probe", "loss") == {7: [0.5]}
    expect_balanced(root / "p" / "probe", 1)
