"""What a client and the daemon say to each other: one dataclass a message, its fields the body's.

SPEC.md tells each field's limits; frames.py makes bytes of them and checks what comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Union

from asynclog_proto._version import __version__
from asynclog_proto.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1

REJOINED = "+"
"""A launch that ends in this is joined again by ranks that had ended: their processes come and go within it."""

Step = int
"""A step may be negative; every other integer of a message counts something."""


@frozen
class Hello:
    """A stream opens, or opens again after a reconnect. Client to daemon.

    `dir` is the absolute directory of all runs; `ring`, `spool` and `outbox` are paths on the client's node, "" when
    there is none; `launch` is one for all ranks that were started together (a new one begins a new
    generation of the run); `first_seq` is the oldest record that the client still holds; `backends` is None for
    the daemon's own choice. `pid` counts in `pid_namespace` of `host`, "" for not known; that process began `pid_ticks`
    clock ticks after its machine did, 0 for not known.
    """

    TYPE: ClassVar[int] = 1
    project: str
    name: str
    dir: str
    rank: int
    world_size: int
    incarnation: str
    launch: str
    first_seq: int
    pid: int
    host: str
    ring: str = ""
    spool: str = ""
    outbox: str = ""
    backends: Mapping[str, Any] | None = None
    client: str = ""
    pid_namespace: str = ""
    pid_ticks: int = 0


@frozen
class Batch:
    """Records `first_seq` to `first_seq + count - 1`, end to end in the payload frame. Client to daemon."""

    TYPE: ClassVar[int] = 2
    first_seq: int
    count: int


@frozen
class Heartbeat:
    """The rank lives. Client to daemon, every 2 s.

    `step` is its watermark (-1 before any). The counts are of logged values since the stream began: `issued` of
    them all, `dropped` by cause those that never became a record. `log_p50_s` and `log_p99_s` are what a call of
    `log()` took lately, None for not known.
    """

    TYPE: ClassVar[int] = 3
    step: Step
    issued: int
    dropped: Mapping[str, int]
    log_p50_s: float | None = None
    log_p99_s: float | None = None


@frozen
class Finish:
    """Asks for a Ledger once all that the stream said is in the local file backends. Client to daemon."""

    TYPE: ClassVar[int] = 4
    issued: int
    dropped: Mapping[str, int]


@frozen
class Query:
    """Asks the daemon for a Report, with `stop` to end too. Tool to daemon."""

    TYPE: ClassVar[int] = 5
    what: str = "status"


@frozen
class Flush:
    """Asks for a Flushed once the records before `next_seq` are journaled and their values, none of a step above
    `step`, are in the local file backends. The stream goes on meanwhile. Client to daemon.
    """

    TYPE: ClassVar[int] = 6
    next_seq: int
    step: Step


@frozen
class Ask:
    """Asks for a Value: that of the series `name` at `step`, None for the last step at which this rank logged it, once
    the records before `next_seq` are journaled and the step is closed. `number` names the question in its stream.
    Client to daemon.
    """

    TYPE: ClassVar[int] = 7
    number: int
    next_seq: int
    name: str
    step: Step | None


@frozen
class AddBackend:
    """Asks that the run in `<dir>/<project>/<name>`, which exists, is delivered to one more backend, from the
    run's beginning. `options` are the backend's. Tool to daemon; answered by a Report once that is journaled, or by
    Refused.
    """

    TYPE: ClassVar[int] = 8
    project: str
    name: str
    dir: str
    backend: str
    options: Mapping[str, Any]


@frozen
class Welcome:
    """The stream is open: go on from `next_seq`, with at most `credit` bytes unacked. Daemon to client.

    `notice` is something about the stream that a person should know, "" when there is nothing. `step` is the highest of
    the run before the stream's launch, None when there is none: who resumes the run goes on from there.
    """

    TYPE: ClassVar[int] = 16
    next_seq: int
    credit: int
    notice: str = ""
    step: Step | None = None


@frozen
class Ack:
    """Every record before `next_seq` is journaled; at most `credit` bytes may be unacked. Of the outbox these records
    need nothing before the position `media`; what a later record names may lie before it. Daemon to client.
    """

    TYPE: ClassVar[int] = 17
    next_seq: int
    credit: int
    media: int = 0


@frozen
class Reset:
    """The daemon does not know this stream, missed a batch, or can't take the stream now: say Hello again. Daemon to
    client.

    `notice` is why it can't take the stream, for a person, "" when nothing is wrong.
    """

    TYPE: ClassVar[int] = 18
    reason: str
    notice: str = ""


@frozen
class Refused:
    """The stream can't be taken, for good; `reason` is for a person. Daemon to client.

    `versions` are the protocol versions that the daemon speaks. This message keeps its form in every version.
    """

    TYPE: ClassVar[int] = 19
    reason: str
    versions: tuple[int, ...] = (VERSION,)

    @property
    def why(self) -> str:
        """The reason, for the person who was refused: daemon and client may be of versions that don't fit."""
        if VERSION in self.versions:
            return self.reason
        theirs = ", ".join(map(str, self.versions)) or "none that is known"
        return (
            f"the daemon speaks protocol version {theirs}, and this asynclog ({__version__}) version {VERSION}: update "
            "the older of the two (a daemon that was updated has to be ended; the next init() starts the new one)"
        )


@frozen
class Ledger:
    """What became of the run's values so far, per backend; `complete` when nothing local is pending."""

    TYPE: ClassVar[int] = 20
    complete: bool
    ledger: Mapping[str, Any]


@frozen
class Report:
    """The daemon's whole state, for `asynclog status`. Daemon to tool."""

    TYPE: ClassVar[int] = 21
    report: Mapping[str, Any]


@frozen
class Flushed:
    """What the Flush with the same `next_seq` asked for is done. Daemon to client."""

    TYPE: ClassVar[int] = 22
    next_seq: int


@frozen
class Value:
    """The answer to the Ask of this number: the first value that the step closed with, the same for everyone who asks;
    None when there is none, and `reason` says why, for a person. Daemon to client.
    """

    TYPE: ClassVar[int] = 23
    number: int
    value: float | None
    reason: str = ""


Message = Union[  # noqa: UP007 - evaluated at run time on 3.10
    Hello,
    Batch,
    Heartbeat,
    Finish,
    Query,
    Flush,
    Ask,
    AddBackend,
    Welcome,
    Ack,
    Reset,
    Refused,
    Ledger,
    Report,
    Flushed,
    Value,
]
