"""What the guard watches: pieces of real work, each beside the least that could be done in its place.

A piece is prepared, then done; only doing it counts. All run in one thread, without a socket, so that they can be
counted in instructions as well as timed.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import google_crc32c
import msgpack
import numpy as np

from asynclog import bodies
from asynclog.calls import Calls
from asynclog.notices import Notices
from asynclog.ring import Ring
from asynclog.rows import Rows
from asynclog_proto import ringfile
from asynclogd.backends.base import RunInfo
from asynclogd.backends.tensorboard import TensorBoardBackend, TensorBoardConfig
from backends_process import tables
from batches import Stream
from contender import MessagePack
from ingest import RANKS, Daemon, Reducing
from ingest_floor import Floor

NAMES = 10
WIDE, NARROW = 10_000, 1_000
"""Names of a wide row, and of those that it is held against."""
CALLS = 1_000
RING_BYTES = 8 << 20
TABLES, STEPS_OF_A_TABLE = 10, 100


@dataclass(frozen=True)
class Work:
    """`ours` and `floor` do the same for what `prepare` gives; `least` says what the floor does."""

    name: str
    least: str
    prepare: Callable[[], Any]
    ours: Callable[[Any], object]
    floor: Callable[[Any], object]


@contextmanager
def works(folder: Path) -> Iterator[list[Work]]:
    """All of them, warm; what they write is in `folder`."""
    with _logging() as logging, _journaling(folder) as journaling, _writing(folder) as writing:
        reducing = [_reducing(1_100, "batches"), _reducing(1, "single rows"), _reducing_wide()]
        found = [logging, *reducing, journaling, writing]
        for work in found:
            given = work.prepare()
            work.ours(given)
            work.floor(given)
        yield found


def seconds(act: Callable[[Any], object], given: object) -> float:
    """CPU seconds of one."""
    began = time.process_time()
    act(given)
    return time.process_time() - began


# ---- log() ----------------------------------------------------------------------------------------------------------


class FreshRings:
    """`log()` as a run has it, into a ring that is empty whenever `calls` begins, and that no sender takes from."""

    def __init__(self) -> None:
        self.row = {f"train/metric_{index}": 0.37 * index for index in range(NAMES)}

    def ready(self) -> Rows:
        """A ring whose pages are there and which knows the names."""
        file = mmap.mmap(-1, ringfile.HEADER + RING_BYTES)
        file[:] = bytes(len(file))
        file[: ringfile.HEADER] = ringfile.header(RING_BYTES, b"bench")
        notices = Notices()
        rows = Rows(Ring(file), notices, bodies.nowhere(), strict=True)
        rows.writer.slow = Calls(rows, notices, strict=True).take
        for _ in range(3):
            rows.writer.log(self.row)
        return rows

    def calls(self, rows: Rows) -> int:
        """`CALLS` calls, and how many bytes they took."""
        log, row, before = rows.writer.log, self.row, rows.writer.place
        for _ in range(CALLS):
            log(row)
        return rows.writer.place - before


@contextmanager
def _logging() -> Iterator[Work]:
    rings, least = FreshRings(), MessagePack()
    least.setup(Path())

    def floor(_: object) -> None:
        log, row = least.log, rings.row
        for step in range(CALLS):
            log(row, step)

    yield Work("log() of 10 floats", "msgpack encode + copy", rings.ready, rings.calls, floor)
    least.close()


# ---- the daemon -----------------------------------------------------------------------------------------------------


class Batches:
    """A batch of each rank, the next ones at each call."""

    def __init__(self, steps: int, names: int = NAMES) -> None:
        self.streams = [Stream(rank, names, steps=steps) for rank in range(RANKS)]
        self._numbers = count()

    def __call__(self) -> tuple[int, list[list[bytes | memoryview]]]:
        number = next(self._numbers)
        return number, [stream.message(number) for stream in self.streams]


def _unpacked(given: tuple[int, list[list[bytes | memoryview]]]) -> object:
    """Every row as a Python object."""
    found = []
    for _, payload in given[1]:
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(payload)
        found.append(list(unpacker))
    return found


def _reducing(steps: int, what: str) -> Work:
    reducing, batches = Reducing(), Batches(steps)
    mean = Floor(NAMES)
    numpy = lambda given: mean.take(given[1])  # noqa: E731 - as below
    floor, least = (numpy, "NumPy decode + mean") if steps > 1 else (_unpacked, "msgpack decode")
    name = f"decode and reduce {what} of {RANKS} ranks"
    return Work(name, least, batches, lambda given: reducing.take(given[1], float(given[0])), floor)


def _reducing_wide() -> Work:
    """A row of each rank, beside the same number of values in narrower rows."""
    wide, narrow = Reducing(), Reducing()
    wide_rows, narrow_rows = Batches(1, WIDE), Batches(WIDE // NARROW, NARROW)
    ours = lambda given: wide.take(given[0][1], float(given[0][0]))  # noqa: E731 - as above
    floor = lambda given: narrow.take(given[1][1], float(given[1][0]))  # noqa: E731 - as above
    name = f"decode and reduce rows of {WIDE:,} names of {RANKS} ranks"
    return Work(name, f"as many values in rows of {NARROW:,}", lambda: (wide_rows(), narrow_rows()), ours, floor)


@contextmanager
def _journaling(folder: Path) -> Iterator[Work]:
    daemon, batches = Daemon(folder / "journal.sqlite"), Batches(1_100)
    ours = lambda given: daemon.take(given[1], float(given[0]))  # noqa: E731 - as above
    least = "NumPy decode + mean + a file"
    with closing(Floor(NAMES, folder / "floor")) as floor:
        yield Work("a commit of batches", least, batches, ours, lambda given: floor.take(given[1]))
    daemon.close()


# ---- TensorBoard ----------------------------------------------------------------------------------------------------


class EventFile:
    """The backend, with a file open, and tables for it."""

    def __init__(self, folder: Path) -> None:
        self.names = [f"train/metric_{index}" for index in range(NAMES)]
        self.backend = TensorBoardBackend(TensorBoardConfig())
        self.backend.open(RunInfo("bench", "run", folder, folder), None)
        self._values = np.random.default_rng(0).normal(size=(TABLES * STEPS_OF_A_TABLE, NAMES))
        self._batches = count()
        self.folder = folder

    def __call__(self) -> Any:
        return tables(self.names, self._values, STEPS_OF_A_TABLE, next(self._batches) * len(self._values))

    def write(self, given: Any) -> None:
        """As the sink does."""
        self.backend.write(given)
        self.backend.flush()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.glob("events.out.tfevents.*"))


@contextmanager
def _writing(folder: Path) -> Iterator[Work]:
    place = folder / "tensorboard"
    place.mkdir()
    file = EventFile(place)
    file.write(file())
    before = file.size
    file.write(file())
    written = bytes(file.size - before)
    yield Work("TensorBoard's file", "crc32c of its bytes", file, file.write, lambda _: google_crc32c.value(written))
    file.backend.close("success")
