"""A run's parts side by side, all real, and how they are healed and looked at in the end. What may happen to them, and
in which order, is test_machine.py's.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from asynclog import backlog, ring, spool
from asynclogd import committer, living, outlets, store
from asynclogd.catalog import JOURNAL
from asynclogd.journal import Journal
from tests.faults import logged
from tests.faults.gate import BACKEND, BACKENDS
from tests.faults.handdaemon import HandDaemon
from tests.faults.handrank import Frames, HandRank
from tests.faults.logged import Logged

SMALL = {
    (ring, "PATIENCE_S"): 0.0,
    (ring, "MARK_BYTES"): 256,
    (backlog, "BATCH_BYTES"): 512,
    (spool, "SEGMENT_BYTES"): 2048,
    (store, "SNAPSHOT_BYTES"): 1500,
    (committer, "RETRY_SECONDS"): 0.0,
    (outlets, "LOCAL_CURSOR_SECONDS"): 1e6,
    (outlets, "LAST_CURSOR_SECONDS"): 1e6,
}
"""Sizes and waits with which a few dozen rows come to every place."""


class Parts:
    """`ranks` are all that ever were, in the order in which they were started."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="al-machine-"))
        self.runtime, self.run_dir = self.root / "runtime", self.root / "p" / "run"
        (self.runtime / "rings").mkdir(parents=True)
        (self.runtime / "runs").mkdir()
        self.ranks: list[HandRank] = []
        self.launch, self.values = -1, 0
        self.firsts: list[int] = []
        """the step at which each launch goes on"""
        self.logged = Logged(1)
        self.patches = pytest.MonkeyPatch()
        for (module, name), value in SMALL.items():
            self.patches.setattr(module, name, value)
        # It reads the metadata of each installed package, at each hello.
        self.patches.setattr(importlib.metadata, "entry_points", cache(importlib.metadata.entry_points))
        # The kernel's record locks are a process's; here all ranks are one.
        self.patches.setattr(living, "owner_is_dead", self.owner_is_dead)
        real = Journal.commit
        self.patches.setattr(Journal, "commit", lambda *given: self.daemon.journal_commit(real, *given))
        self.start_daemon()

    def end(self) -> None:
        """Heal everything, and see whether all is there."""
        try:
            self.heal()
            self.check()
        finally:
            for each in self.ranks:
                if each.alive:
                    each.kill()
            if not self.daemon.over:
                self.daemon.die()
            self.patches.undo()
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def living(self) -> list[HandRank]:
        return [each for each in self.ranks if each.alive]

    @property
    def logging(self) -> list[HandRank]:
        return [each for each in self.living if each.sender._ending is None]

    def last(self, one: HandRank) -> int:
        return max(one.rows.writer.step, self.firsts[one.launch] - 1)

    def log(self, one: HandRank, names: tuple[str, ...], step: int, odd: float | None = None) -> None:
        values, step = {}, max(self.firsts[one.launch], step)
        for name in names:
            self.values += 1
            full = f"own{one.rank}" if name == "own" else name
            values[full] = odd if odd is not None and name == names[0] else self.values / 8
        if one.log(values, step, "max" if names == ("hi",) else None):
            self.logged.take(one.launch, one.rank, values, step)
        else:
            self.logged.dropped += len(values)
        assert one.ring.used <= one.ring.capacity

    def begin_launch(self, back: int) -> None:
        """All ranks are started, and go on some steps before the last one."""
        top = self.logged.top()
        self.firsts.append(max(0, (-1 if top is None else top) + 1 - back))
        self.launch += 1
        self.logged.begin({each.launch for each in self.living})
        for rank in range(self.logged.world):
            self.start_rank(rank)

    def start_rank(self, rank: int) -> None:
        incarnation, world = f"inc{len(self.ranks)}", self.logged.world
        self.ranks.append(HandRank(self.root, self.runtime, rank, world, self.launch, incarnation, BACKENDS))

    def owner_is_dead(self, path: Path) -> bool:
        return path not in {each.file.path for each in self.living}

    def up(self, one: HandRank, frame: int, *, kept: bool = False) -> None:
        parts = one.wire.up[frame]
        if not kept:
            del one.wire.up[frame]
        self.daemon.deliver(one.peer, parts)
        self.notice_death()

    def hear_all(self) -> None:
        for one in self.ranks:
            for _ in range(len(one.wire.up)):
                self.up(one, 0)

    def acks_arrive(self) -> None:
        for one in self.ranks:
            one.wire.arrived += one.wire.down
            one.wire.down.clear()

    def answer(self, peer: bytes, parts: Frames) -> None:
        one = next(each for each in self.ranks if each.peer == peer)
        one.wire.down.append(parts)

    def start_daemon(self) -> None:
        self.daemon = HandDaemon(self.runtime, self.run_dir, self.answer)
        self.daemon.open()

    def notice_death(self) -> None:
        if self.daemon.dead:
            self.daemon.die()
            self.start_daemon()

    def heal(self) -> None:
        """Nothing fails any more, every rank ends, and everything is delivered."""
        self.daemon.dies_at(-1, "")
        for number in range(100):
            if number == 20:
                self.daemon.sync()  # nobody has ever heard of some whose spool is all that they left
            for each in self.living:
                each.finish()
                each.turn(0.6)
            self.hear_all()
            self.daemon.look()
            self.daemon.commit()
            self.daemon.sinks(1 << 30)
            self.daemon.commit()
            self.acks_arrive()
            run = self.daemon.run
            if not self.living and not self.left() and (run is None or run.complete):
                return
        raise AssertionError(f"it does not come to an end: {self.state()}")

    def left(self) -> list[str]:
        """Files of ranks that nobody has taken up."""
        return [path.name for path in self.root.rglob("*") if path.suffix in {".ring", ".spool"}]

    def state(self) -> Any:
        run = self.daemon.run
        sessions = [] if run is None else [(each.stream, each.flow, each.waits) for each in run.sessions.values()]
        return self.left(), [(each.incarnation, each.sender._stream.flow) for each in self.living], sessions

    def check(self) -> None:
        """The run holds what was logged."""
        self.daemon.open_run()
        self.daemon.close()
        with Journal.open(self.run_dir / JOURNAL) as journal:
            items, letters = journal.items(0, 1 << 30), journal.dead_letters()
            launches = dict.fromkeys(stream.launch for stream in journal.streams())
            self.logged.check([item for _, item in items], [int(name.removeprefix("launch")) for name in launches])
            assert logged.read(self.run_dir / BACKEND / "points.jsonl") == logged.written(items, letters)
            cursor = journal.cursors()[BACKEND]
        (ledger,) = [run["ledger"] for run in self.daemon.hub.closed_runs.values()]
        superseded = ledger["dropped"].pop("superseded", 0)
        assert not superseded or self.logged.outlived
        assert cursor.delivered + cursor.dead + superseded == self.logged.count
        assert ledger["journaled"] == self.logged.count - superseded
        assert ledger["in_transit"] == 0
        dropped = self.logged.dropped
        assert sum(ledger["dropped"].values()) == dropped
        assert ledger["issued"] == self.logged.count + dropped
