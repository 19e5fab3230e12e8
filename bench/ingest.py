"""CPU that the daemon spends per scalar from a batch's bytes to journaled points: decode, reduce, journal.

    python bench/ingest.py [--json -] [--quick] [--check]

Eight ranks send batches as the sender makes them, and a batch of each is one commit. All runs in one thread, as in
the daemon; making the batches is not counted. Two `logs_per_step` is a training loop that calls `log()` twice a
step, each time with half of the names; without `journal` it is decoding and reducing alone. The floor takes each commit
too, by turns before and after: NumPy decodes it and takes the mean, and with `journal` a plain file gets both. Medians.

journal_mb_s is the journal's size by the wall clock of its transactions and its close; plain_mb_s the same bytes in as
many writes to a plain file beside it, with an fsync.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from asynclog_proto import frames
from asynclog_proto.flow import ReceiveFlow
from asynclogd.decode import StreamDecoder
from asynclogd.entries import Cause, Input
from asynclogd.entries import Stream as EntryStream
from asynclogd.points import Points
from asynclogd.reducer import Reducer, ReducerSettings
from asynclogd.state import join_payload
from asynclogd.store import RunStore, Work
from batches import Stream
from ingest_floor import Floor, written_plainly

RANKS = 8
NAMES = (1, 10, 100, 1000)
SPEEDS = ("journal_mb_s", "plain_mb_s")
PROMISED = {10: 8e6, 1000: 15e6}


class Daemon:
    """What a batch goes through: header, flow, decoder, reducer and journal, with its snapshots."""

    def __init__(self, path: Path) -> None:
        self.cpu = 0.0
        """seconds of CPU that it took"""
        self.journal_s = 0.0
        """seconds of the journal's transactions and of its end, once it is closed"""
        self.logged = 0
        self._store = RunStore(path, "process", ReducerSettings())
        self._streams = [
            EntryStream(rank + 1, rank, RANKS, f"i{rank}", "bench", "host", 1, "", "") for rank in range(RANKS)
        ]
        self._flows = [ReceiveFlow() for _ in self._streams]
        joins = [Input(Cause.JOIN, stream.id, payload=join_payload(stream)) for stream in self._streams]
        self._store.commit(Work(joins, {stream.id: stream for stream in self._streams}))

    def take(self, messages: list[list[bytes | memoryview]], now: float) -> None:
        """One group commit of a batch of each rank."""
        began = time.process_time()
        work = Work()
        for stream, flow, parts in zip(self._streams, self._flows, messages, strict=True):
            batch, payload = frames.decode(parts)
            assert isinstance(batch, frames.Batch)
            assert flow.batch(batch.first_seq, batch.count).take
            work.inputs.append(Input(Cause.BATCH, stream.id, batch.first_seq, batch.count, bytes(payload), now))
            work.streams[stream.id] = stream
        outcome = self._store.commit(work)
        self.cpu += time.process_time() - began
        assert not outcome.refused
        self.logged += sum(item.logged_total for _, item in outcome.items if isinstance(item, Points))

    def close(self) -> None:
        assert self.logged == self._store.state.journaled
        began = time.perf_counter()
        self._store.close()
        self.journal_s = self._store.stages["journal"].total + time.perf_counter() - began


class Reducing:
    """Decoder and reducer alone."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.logged = 0
        self._reducer = Reducer()
        self._decoders = [StreamDecoder() for _ in range(RANKS)]
        for rank in range(RANKS):
            self._reducer.join(rank, RANKS, "bench", 0.0)

    def take(self, messages: list[list[bytes | memoryview]], now: float) -> None:
        began = time.process_time()
        for rank, parts in enumerate(messages):
            self._reducer.feed(rank, "bench", self._decoders[rank].decode(parts[1]), now)
        items = self._reducer.drain()
        self.cpu += time.process_time() - began
        self.logged += sum(item.logged_total for item in items if isinstance(item, Points))

    def close(self) -> None:
        assert self.logged == self._reducer.journaled


def rounds(streams: list[Stream], seconds: float) -> Iterator[tuple[int, list[list[bytes | memoryview]]]]:
    end, number = time.monotonic() + seconds, 0
    while number < 3 or time.monotonic() < end:
        yield number, [stream.message(number) for stream in streams]
        number += 1


def measure(names: int, logs_per_step: int, seconds: float, *, journaled: bool) -> harness.Row:
    streams = [Stream(rank, names, logs_per_step) for rank in range(RANKS)]
    of_all = sum(stream.scalars for stream in streams)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        daemon = Daemon(path) if journaled else Reducing()
        floor = Floor(names // logs_per_step, Path(folder) / "floor" if journaled else None)
        contenders, warm, counted = [daemon, floor], [0.0, 0.0], 0
        for number, batches in rounds(streams, seconds):
            for contender in contenders[:: 1 if number % 2 else -1]:
                contender.take(batches, float(number))
            if number == 0:
                warm = [contender.cpu for contender in contenders]
            else:
                counted += of_all
        cpu, least = (contender.cpu - before for contender, before in zip(contenders, warm, strict=True))
        for contender in contenders:
            contender.close()
        speeds = _speeds(daemon, path, number + 1)
    return {
        "names": names,
        "ranks": RANKS,
        "logs_per_step": logs_per_step,
        "journal": journaled,
        "scalars": counted,
        "batch_kb": round(sum(len(parts[1]) for parts in batches) / RANKS / 1024),
        "scalars_per_cpu_s": counted / cpu,
        "ns_per_scalar": cpu / counted * 1e9,
        "floor_ns": least / counted * 1e9,
        "over_floor": cpu / least,
        **speeds,
    }


def _speeds(daemon: Daemon | Reducing, path: Path, commits: int) -> harness.Row:
    """MB/s of the journal and of a plain file, None without a journal."""
    if isinstance(daemon, Reducing):
        return dict.fromkeys(SPEEDS)
    size = path.stat().st_size
    taken = daemon.journal_s, written_plainly(path.with_name("plain"), size, commits)
    return {key: size / 1e6 / seconds for key, seconds in zip(SPEEDS, taken, strict=True)}


def main() -> int:
    options = harness.parser(__doc__ or "")
    options.add_argument("--seconds", type=float, help="how long each case runs")
    chosen = options.parse_args()
    seconds, repeats = chosen.seconds or (0.5 if chosen.quick else 2.0), 1 if chosen.quick else 5
    cases = [(names, 1, True) for names in NAMES] + [(10, 2, True), (10, 1, False), (1000, 1, False)]
    found = [
        measure(names, logs, seconds, journaled=journaled) for _ in range(repeats) for names, logs, journaled in cases
    ]
    rows = harness.median_rows(found, ("names", "logs_per_step", "journal"))
    keys = ["names", "logs_per_step", "journal", "scalars", "scalars_per_cpu_s", "ns_per_scalar", "floor_ns"]
    cells = [
        [
            *(harness.short(row[key]) for key in keys),
            f"{row['over_floor']:.1f}x",
            *(harness.short(row[key]) for key in SPEEDS),
        ]
        for row in rows
    ]
    keys += ["over_floor", *SPEEDS]
    shown = harness.Shown("ingest", f"ingest, {RANKS} ranks", keys, cells, ["asynclogd", "numpy"])
    return harness.report(chosen, rows, shown, _checks(rows))


def _checks(rows: list[harness.Row]) -> list[harness.Check]:
    return [
        harness.Check(
            f"{row['names']} names: scalars per CPU second",
            row["scalars_per_cpu_s"],
            PROMISED[row["names"]],
            at_least=True,
        )
        for row in rows
        if row["journal"] and row["logs_per_step"] == 1 and row["names"] in PROMISED
    ]


if __name__ == "__main__":
    sys.exit(main())
