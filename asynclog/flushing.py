"""What `Run.flush` does: a bounded wait for everything so far, while the run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynclog.barriers import Barrier
from asynclog.notices import Notices
from asynclog.rows import Rows

if TYPE_CHECKING:
    from asynclog.sender import Sender

_GRACE_S = 0.05
"""A daemon that answers at the deadline is heard."""


def flush(rows: Rows, sender: Sender | None, notices: Notices, timeout: float) -> bool:
    """Wait until what was logged so far is where it goes, at most `timeout` seconds. False, and a warning, if not."""
    with rows.lock:
        barrier = _begin(rows, sender, notices)
    if isinstance(barrier, bool):
        notices.say()
        return barrier
    assert sender is not None
    sender.bell.ring()
    if not barrier.done.wait(max(0.0, timeout) + _GRACE_S):
        barrier.given_up = True
    if not barrier.reached:
        notices.add(barrier, f"flush(): {sender.missing(barrier)}")
    notices.say()
    return barrier.reached


def _begin(rows: Rows, sender: Sender | None, notices: Notices) -> Barrier | bool:
    """With the lock held: the barrier to wait for, or at once what there is to say."""
    if rows.closed == "after_fork":
        notices.add(("flush()", "after_fork"), "flush() after fork() has no effect")
        return False
    if rows.writer.busy:
        notices.add("flush()", "flush() inside a call of log() (from a signal handler?) has no effect")
        return False
    if rows.closed is not None or sender is None:
        return sender is None or not sender.failed
    barrier = Barrier(rows.writer.highest, rows.devices.entered)
    sender.barriers.add(barrier)
    return barrier
