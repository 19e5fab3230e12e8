"""Until when what could not be taken up is left alone."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest

from asynclog_proto.errors import ConfigError, ProtocolError
from asynclogd.journal import JournalBusyError
from asynclogd.untaken import BusyError, RunDirError, Untaken, again_after


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BusyError("1 runs are open"), 2.0),
        (JournalBusyError("another daemon"), 2.0),
        (OSError(5, "Input/output error"), 2.0),
        (sqlite3.OperationalError("disk I/O error"), 2.0),
        (RunDirError("permission denied"), 60.0),
        (ProtocolError("no ring"), math.inf),
        (ConfigError("no such backend"), math.inf),
        (AttributeError("a defect"), math.inf),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, seconds: float) -> None:
    assert again_after(error) == seconds


def test_what_is_due_is_told_until_it_has_been_tried() -> None:
    left = Untaken()
    for path in ("soon", "again"):
        left.add(Path(path), 10.0, 2.0)
    left.add(Path("never"), 10.0)
    assert left.due(11.9) == {}
    assert left.left_alone(11.9) == left.paths
    due = left.due(12.0)
    assert due == left.due(13.0) == {Path("soon"): 12.0, Path("again"): 12.0}
    assert left.left_alone(12.0) == {Path("never")}
    assert left.waiting == {Path("soon"), Path("again")}
    left.add(Path("again"), 12.5, 2.0)
    left.tried(due)
    assert left.paths == {Path("again"), Path("never")}
    assert left.due(1e9) == {Path("again"): 14.5}
