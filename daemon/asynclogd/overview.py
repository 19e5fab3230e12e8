"""A run as its journal tells it, without a look at its points: for lists of runs, and for what may be removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError
from asynclog_proto.records import STATUSES
from asynclogd import ledger, mending
from asynclogd.caps import ReducerSettings
from asynclogd.catalog import JOURNAL, spool_of
from asynclogd.claim import CLAIM
from asynclogd.entries import Cursor, Stream
from asynclogd.journal import Journal
from asynclogd.journalcopy import COPY_PREFIX, reading
from asynclogd.points import RunEnd

TAIL_ITEMS = 16
"""As many of the newest items are looked at for how the run ended: a few late ones may follow its end."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One run. Counts are of logged values, times are s since the epoch, sizes bytes.

    status      running (a process has it open), success, failed, interrupted or killed, unfinished (nobody has it open,
                and its end is not journaled), spooled (it was never journaled), or unreadable: `error` says why
    live        whether a process has it open: after its end, one that delivers
    step        the highest of all generations
    points      written to the backend that has most of them
    alive       what tells that a rank of it lives which no daemon need have heard of, where that was looked for
    kept        of journal, media and spool: what `asynclog gc` removes
    behind      items that a backend has yet to be given, by its name
    """

    dir: Path
    status: str
    live: bool = False
    alive: str = ""
    error: str = ""
    world: int = 0
    generations: int = 0
    step: int | None = None
    points: int = 0
    active: float = 0.0
    kept: int = 0
    spooled: int = 0
    items: int = 0
    pending_media: int = 0
    open_values: int = 0
    behind: Mapping[str, int] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether every rank has ended."""
        return self.status in STATUSES

    @property
    def pending(self) -> bool:
        """Whether anything of it is on its way to a backend."""
        return bool(self.spooled or self.pending_media or self.open_values or any(self.behind.values()))

    @property
    def complete(self) -> bool:
        """Whether it has ended, every backend has everything of it, and nobody has it open."""
        return self.ended and not self.pending and not self.live

    @property
    def project(self) -> str:
        """The name of its project."""
        return self.dir.parent.name

    @property
    def name(self) -> str:
        """Its own name."""
        return self.dir.name


def look(run_dir: Path) -> Overview:
    """What there is to be said of a run; of one that can't be read too."""
    path = run_dir / JOURNAL
    try:
        if not path.exists():
            return spooled(run_dir)
        kept, written = kept_files(run_dir)  # before it is opened, which makes a file
        with reading(path) as (journal, live):
            return replace(overview(run_dir, journal, live=live), kept=kept, active=written)
    except (AsynclogError, OSError, ValueError) as error:
        kept, active = kept_files(run_dir)
        return Overview(run_dir, "unreadable", error=str(error), kept=kept, active=active, spooled=spool_bytes(run_dir))


def spooled(run_dir: Path) -> Overview:
    """A run that no daemon has seen."""
    kept, active = kept_files(run_dir)
    return Overview(run_dir, "spooled", kept=kept, active=active, spooled=spool_bytes(run_dir))


def overview(run_dir: Path, journal: Journal, *, live: bool) -> Overview:
    """A run by its open journal; `live` when that is a copy of one that another process has open. Its files are not
    looked at.
    """
    state = mending.restored(journal, ReducerSettings())
    streams, cursors, facts = journal.streams(), journal.cursors(), journal.facts()
    tally = state.reducer.tally
    return Overview(
        dir=run_dir,
        status=_status(journal, streams, live=live, ended=tally.ended),
        live=live,
        world=max((stream.world_size for stream in streams), default=0),
        generations=len(tally.launches) + bool(streams),
        step=tally.summit,
        points=max((cursor.points for cursor in cursors.values()), default=0),
        spooled=spool_bytes(run_dir),
        items=journal.last_offset,
        pending_media=len(state.media),
        open_values=state.reducer.open_values(),
        behind={
            name: max(0, journal.last_offset - cursors.get(name, Cursor()).offset)
            for name in {**facts.get("backends", {}), **cursors}
        },
        ledger=ledger.balance(streams, state.host_values, state.journaled, cursors, state.dropped),
        streams=tuple(streams),
        facts=facts,
    )


def _status(journal: Journal, streams: Iterable[Stream], *, live: bool, ended: bool) -> str:
    going = any(stream.state == "live" for stream in streams)
    if going or not ended:
        return "running" if live else "unfinished"
    newest = range(journal.last_offset - 1, max(-1, journal.last_offset - 1 - TAIL_ITEMS), -1)
    items = mending.Items(journal)
    some = (item for after in newest for _, item in items.read(after, 1)[:1])
    ends = (item.status for item in some if isinstance(item, RunEnd))
    return next(ends, "unfinished")


def kept_files(run_dir: Path) -> tuple[int, float]:
    """Bytes of a run's journal, media and spool, and when any of them was written last."""
    facts = [path.stat() for path in kept_paths(run_dir) if path.is_file()]
    return sum(fact.st_size for fact in facts), max((fact.st_mtime for fact in facts), default=0.0)


def kept_paths(run_dir: Path) -> list[Path]:
    """The files that are asynclog's own, copies of readers that were killed too; the journal last."""
    parts = [run_dir / "media", run_dir / "spool", run_dir / "rings", *run_dir.glob(f"{COPY_PREFIX}*")]
    inside = [path for part in parts for path in part.rglob("*") if path.is_file()]
    return [*inside, run_dir / CLAIM, places.begun_path(run_dir), run_dir / f"{JOURNAL}-wal", run_dir / JOURNAL]


def spool_bytes(run_dir: Path) -> int:
    """Bytes that wait in a run's spool."""
    return sum(path.stat().st_size for path in spool_of(run_dir))
