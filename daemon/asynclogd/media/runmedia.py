"""A run's media beside its pipeline: store and lane, and what its ranks' files of bodies are still needed for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from asynclogd import recovery
from asynclogd.catalog import title
from asynclogd.media.lane import Lane, Places, Put
from asynclogd.media.pending import MediaStanding
from asynclogd.media.store import MediaStore
from asynclogd.media.workers import Workers
from asynclogd.session import Session

Sessions = Callable[[], Mapping[str, Session]]


class RunMedia:
    """Owned by the pipeline, called on the event loop. `put` journals what came of an item."""

    def __init__(self, run_dir: Path, workers: Workers, sessions: Sessions, put: Put, *, fsync: bool) -> None:
        self.standing = MediaStanding()
        """as the last commit left it"""
        self.store = MediaStore(run_dir / "media", fsync=fsync)
        self.lane = Lane(title(run_dir), workers, self.store, self._places, put)
        self._sessions = sessions
        self._freed: dict[int, int] = {}
        self._cleared: set[int] = set()
        """streams that are over and whose files have gone"""

    def committed(self, standing: MediaStanding) -> set[int]:
        """A commit has been made. The streams that are to be told up to where their outboxes are free."""
        self.standing = standing
        self._freed.update(standing.freed)
        for number, file in standing.spent:
            self._in_thread(recovery.remove_media_before, self._session(number).spool, file)
        self.lane.offer(standing.fresh)
        self.clear()
        return {number for number, _ in standing.freed}

    def freed(self, stream: int) -> int:
        """The position before which the outbox of a stream is not needed."""
        return self._freed.get(stream, 0)

    def revived(self, stream: int) -> None:
        """One that counted as dead goes on."""
        self._cleared.discard(stream)

    def clear(self) -> None:
        """Remove the files of streams that are over, when all of their media are encoded."""
        for session in self._sessions().values():
            stream = session.stream
            if stream.id not in self._cleared and stream.id not in self.standing.streams and session.over:
                self._cleared.add(stream.id)
                self._in_thread(recovery.remove_media, stream.outbox, session.spool)

    @property
    def complete(self) -> bool:
        """Whether none is pending."""
        return not self.standing.pending and self.lane.idle

    async def close(self, timeout: float) -> None:
        """Go on for at most `timeout` seconds, and stop; what is not done then is pending when the run opens again."""
        await self.lane.drain(timeout)
        await self.lane.close()

    def _in_thread(self, call: Callable[..., None], *arguments: object) -> None:
        asyncio.get_running_loop().run_in_executor(None, call, *arguments)

    def _session(self, number: int) -> Session:
        return next(session for session in self._sessions().values() if session.stream.id == number)

    def _places(self, number: int) -> Places:
        stream = self._session(number).stream
        return Places(stream.outbox, stream.spool, stream.afar)
