"""Which launch a stream belongs to, and which of a rank's processes in it came last. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from asynclog_proto.frames import Hello
from asynclog_proto.messages import REJOINED
from asynclogd.entries import Stream


def is_rejoined(launch: str) -> bool:
    """Whether ranks come and go in the launch: other processes of theirs take their places, alone for a while even."""
    return launch.endswith(REJOINED)


def launch_of(hello: Hello, began: float, streams: Iterable[Stream]) -> str:
    """The launch of a new stream that began then, beside the run's others. One parent may start its ranks again (a
    sweep, a notebook): a rank that had finished in a launch begins the next one, unless the launch says by its `+` that
    ranks come and go in it. A process that died unheard before the one came that has finished is of that one's launch.
    """
    number, launch = 1, hello.launch
    if is_rejoined(launch):
        return launch
    of_rank = [each for each in streams if each.rank == hello.rank and each.launch.startswith(launch)]
    # One that was heard to the end only when the next had come, in the same launch, has not ended it.
    ended = {
        (each.launch, each.began) for each in of_rank if each.state == "ended" and not has_come_again(each, of_rank)
    }
    while any(name == launch and came <= began for name, came in ended):
        number += 1
        launch = f"{hello.launch}#{number}"
    return launch


def has_come_again(stream: Stream, streams: Iterable[Stream]) -> bool:
    """Whether a later process of its rank has come in its launch."""
    return any(
        (each.rank, each.launch) == (stream.rank, stream.launch) and each.began > stream.began for each in streams
    )


def later(now: float, rank: int, streams: Iterable[Stream]) -> float:
    """When the process of a rank began that says hello now: after all others of that rank, whatever the clock says."""
    others = (each.began for each in streams if each.rank == rank)
    return max([now, *(math.nextafter(other, math.inf) for other in others)])
