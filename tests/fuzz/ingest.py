"""Target: the daemon, from a peer's messages to the journal and back.

All of it is the daemon's own but the socket: an Attendant stands at the door in its place. The peers are of another
machine, so that the daemon itself keeps whatever they say within the folder of runs. What must hold:

- a message is answered or taken, and none ends a run's commits, a task or a callback of the event loop;
- what was acked is in the journal, byte for byte as it was sent under its number;
- the journal, replayed, gives the state that the daemon had; and so does its snapshot after it has closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from asynclog_proto import frames, records
from asynclog_proto.errors import ProtocolError
from asynclog_proto.frames import Ack, Batch, Hello, Message, Welcome
from asynclog_proto.limits import MAX_REPORT_BYTES
from asynclogd.catalog import JOURNAL
from asynclogd.config import Config, DaemonSettings
from asynclogd.door import Arrival
from asynclogd.entries import Cause, Input
from asynclogd.gate import Gate
from asynclogd.ingest import Remote
from asynclogd.journal import Journal
from asynclogd.keys import Pair
from asynclogd.pipeline import Pipeline
from asynclogd.reducer import ReducerSettings
from asynclogd.server import Server
from asynclogd.state import RunState
from tests.fuzz.pieces import join, take

DIRECTORY = "/runs"
"""Stands in a Hello for the folder of runs, which has another name each time."""

MOST_MESSAGES = 64
PEERS = 4
KEY = bytes(32)
AT_ONCE = 0x80
"""In a message's first byte: the next one comes before this one has been seen to."""

WITHIN = 30.0
SETTINGS = DaemonSettings(commit_interval=0.0, join_deadline=0.0, step_deadline=0.05, remote_dir=DIRECTORY)


def message(peer: int, parts: Sequence[bytes], *, at_once: bool = False) -> bytes:
    """One message of what the target takes."""
    return bytes([AT_ONCE * at_once | (len(parts) - 1) << 2 | peer]) + join(parts)


def messages(data: bytes) -> Iterator[tuple[int, bool, list[bytes]]]:
    """Peer, whether the next one comes at once, and frames of each message."""
    at = count = 0
    while at < len(data) and count < MOST_MESSAGES:
        head = data[at]
        parts, at = take(data, 1 + (head >> 2) % 4, at + 1)
        yield head % PEERS, bool(head & AT_ONCE), parts
        count += 1


@contextlib.contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """The target: `data` is messages, each play of them with runs of its own."""
    loop = asyncio.new_event_loop()
    defects = Defects(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="al-ingest-") as folder, _logging_to(defects):
        stage = Stage(Path(folder), defects)
        loop.set_exception_handler(lambda _, context: defects.found.append(context))
        loop.run_until_complete(stage.open())
        try:
            yield lambda data: loop.run_until_complete(stage.play(data))
        finally:
            loop.run_until_complete(stage.close())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


class Defects(logging.Handler):
    """What the daemon outlived and logged with a traceback: of what a peer says it tells the reason alone."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.found: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(logging.Formatter().format(record))


@contextlib.contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    log = logging.getLogger("asynclogd")
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.propagate = True
        log.removeHandler(handler)


class Attendant:
    """At a door of the daemon's that has no socket: keeps what is said to each peer, as the peer would read it."""

    address, remote = "fuzzer", True

    def __init__(self) -> None:
        self.gate = Gate(PEERS)
        self.told: dict[bytes, list[Message]] = defaultdict(list)

    def send(self, peer: bytes, parts: Sequence[bytes | memoryview]) -> bool:
        self.told[peer].append(frames.decode([bytes(part) for part in parts], max_header=MAX_REPORT_BYTES)[0])
        return True

    def receive(self) -> None:
        """What comes in is handed to the daemon as it comes."""

    def cut(self, fds: Sequence[int]) -> None:
        raise AssertionError(f"connections are ended, and their key is allowed: {fds}")


@dataclass
class Told:
    """What the peers of one play have sent: the bytes under each number, of all streams."""

    records: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    def note(self, batch: Batch, payload: memoryview) -> None:
        with contextlib.suppress(ProtocolError):
            for seq, (start, end) in enumerate(records.iterate(payload), batch.first_seq):
                self.records[seq].add(bytes(payload[start:end]))


class Stage:
    """A daemon and its peers, for one play after the other."""

    def __init__(self, folder: Path, defects: Defects) -> None:
        self._defects = defects
        self._runs = folder / "runs"
        self._runtime = folder / "runtime"

    async def open(self) -> None:
        """Nothing of the daemon's runs by the clock but deadlines of steps: a play is to be repeated."""
        for name in ("runs", "rings"):
            (self._runtime / name).mkdir(parents=True)
        settings = msgspec.structs.replace(SETTINGS, remote_dir=str(self._runs))
        self._server = Server(self._runtime, Config(daemon=settings, backends={}))
        self._server.ingest.open([], 1, Remote(Pair(KEY, KEY), lambda _: {KEY: "fuzzer"}))
        self._door = Attendant()
        self._server.ingest._doors.append(self._door)  # type: ignore[arg-type]

    async def close(self) -> None:
        await self._server.hub.close(1.0)
        self._server.ingest._doors.clear()
        self._server.ingest.close()

    async def play(self, data: bytes) -> None:
        """What the peers say, what comes of it, and the end of it."""
        self._runs.mkdir()
        told = Told()
        for peer, at_once, parts in messages(data):
            placed = self._placed(parts, told)
            size = sum(map(len, placed))
            self._server.ingest._take(0, self._door, Arrival(bytes([peer]), KEY.hex(), 1, placed, size))  # type: ignore[arg-type]
            if not at_once:
                await self._settled()
        await self._settled()
        for run in list(self._server.hub.runs.values()):
            await self._check(run, told)
        self._door.told.clear()
        shutil.rmtree(self._runs)
        assert not self._defects.found, self._defects.found

    def _placed(self, parts: list[bytes], told: Told) -> list[bytes]:
        """The frames, a Hello's folder being ours; records are noted."""
        try:
            said, payload = frames.decode(parts)
        except ProtocolError:
            return parts
        if isinstance(said, Batch):
            told.note(said, payload)
        if isinstance(said, Hello) and said.dir == DIRECTORY:
            return [bytes(frames.encode(replace(said, dir=str(self._runs)))[0])]
        return parts

    async def _settled(self) -> None:
        """Whoever said hello has been answered, and what was taken is journaled."""
        hub = self._server.hub
        while hub._tasks:
            await asyncio.gather(*hub._tasks)
        for run in list(hub.runs.values()):
            await asyncio.wait_for(run._commits.settle(), WITHIN)
            assert not run.journal_error, run.journal_error

    async def _check(self, run: Pipeline, told: Told) -> None:
        acked = self._acked(run)
        store = run._store
        entries, before = await run._commits.in_thread(
            lambda: ([entry for _, entry in store.journal.inputs(0)], store.state.snapshot())
        )
        settings = store.state._settings
        _check_records(entries, {stream: seq for stream, seq in acked.items() if seq}, run, told)
        assert RunState.restore(settings, None, entries).snapshot() == before, "a replay gives another state"
        await self._server.hub._runs.close(run, 1.0)
        _check_closed(run.run_dir / JOURNAL, settings)

    def _acked(self, run: Pipeline) -> dict[int, int]:
        """Up to where each stream whose peer is still there was told that it is journaled."""
        acked: dict[int, int] = {}
        for session in run.sessions.values():
            if session.peer is not None and session.refused is None:
                said = self._door.told[session.peer[1:]]
                welcomes = [number for number, each in enumerate(said) if isinstance(each, Welcome)]
                since = said[welcomes[-1] :] if welcomes else []
                acked[session.stream.id] = max(
                    (each.next_seq for each in since if isinstance(each, (Welcome, Ack))), default=0
                )
        return acked


def _check_records(entries: list[Input], acked: dict[int, int], run: Pipeline, told: Told) -> None:
    """What was journaled is what was sent, and all that was acked is there."""
    ends: dict[int, int] = {}
    for entry in entries:
        if entry.cause is not Cause.BATCH:
            continue
        assert entry.first_seq >= ends.get(entry.stream, 0), "a record is journaled twice"
        bounds = list(records.iterate(entry.payload, entry.count))
        for seq, (start, end) in enumerate(bounds, entry.first_seq):
            assert entry.payload[start:end] in told.records[seq], "a record that nobody sent"
        ends[entry.stream] = entry.first_seq + entry.count
    for session in run.sessions.values():
        stream = session.stream
        if stream.id in acked and acked[stream.id] > ends.get(stream.id, 0):
            assert stream.lost, f"acked up to {acked[stream.id]}, journaled up to {ends.get(stream.id, 0)}"


def _check_closed(path: Path, settings: ReducerSettings) -> None:
    """The journal as the next daemon finds it: it can be read, and its snapshot is its inputs' state."""
    with Journal.open(path) as journal:
        journal.items(0, 1 << 30)
        snapshot = journal.snapshot()
        if snapshot is not None:
            after, blob = snapshot
            rest = [entry for _, entry in journal.inputs(after)]
            assert rest or RunState.restore(settings, blob, ()).snapshot() == blob, "a snapshot is read as another"
