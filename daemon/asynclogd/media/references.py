"""Files that are told by their path, and read later from where they are: only by who is on the daemon's own machine.

A key is a way in for records. A path that came with one would have us read a file of this user's, and copy it into the
run or send it away; and an honest rank means a file of its own machine, which another of that name here is not.
"""

from __future__ import annotations

from asynclog_proto.media import INLINE_BYTES, Media
from asynclogd.media.forms import UnfitError


def check_not_by_path(record: Media) -> None:
    """Raises UnfitError for a file without its bytes, whatever its path looks like: a stream of another machine has
    sent it.
    """
    if record.kind == "file" and not any(section.role == "file" for section in record.sections):
        raise UnfitError(
            "a file told by its path, from another machine: it is not read, for the path would be one of this machine. "
            f"Log it with copy=True, up to {INLINE_BYTES} bytes over TCP, or on a rank of this machine"
        )
