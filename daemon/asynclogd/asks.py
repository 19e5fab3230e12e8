"""Reduced values that ranks ask for: the first that a step closed with, from the journal and from nowhere else.

The items of a run have one order that survives everything, so the first point of a series at a step is the same for
whoever asks, whenever. What is not in the order is the decision that there is no value, which a late one could
overturn: it is journaled, as a fact, before it is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asynclog_proto.frames import Ask, Value
from asynclog_proto.limits import MAX_ASKS
from asynclogd.incidents import about
from asynclogd.lookup import Lookup
from asynclogd.session import Session
from asynclogd.standing import Standing
from asynclogd.state import Asked

log = logging.getLogger(__name__)

FACT = "no_values"
"""The fact of the run that tells what was decided to have no value: how many there were, and [generation, name, step]
of the latest.
"""

MOST_DECIDED = 256

Key = tuple[int, str, int]


@dataclass(slots=True)
class Open:
    """A question that is not answered: no item up to `searched` has its value."""

    session: Session
    ask: Ask
    searched: int = 0
    busy: bool = False
    """the task has it"""
    decided: int = 0
    """it has no value: the number of that decision, to be told when that is journaled"""

    @property
    def asked(self) -> Asked:
        """What has to be known for it to go on."""
        return Asked(self.session.stream.id, self.ask.name, self.ask.step)


class Asks:
    """The questions of one run; on the event loop. `journal` sets a fact, and `committed` is told when that is done."""

    def __init__(
        self,
        lookup: Lookup,
        decided: Any,
        answer: Callable[[Session, Value], None],
        journal: Callable[[str, object], None],
        wake: Callable[[], None],
    ) -> None:
        self._lookup, self._answer, self._journal, self._wake = lookup, answer, journal, wake
        self._open: dict[tuple[int, int], Open] = {}
        count, keys = decided or (0, ())
        self._decided: int = count
        self._none: dict[Key, None] = dict.fromkeys((generation, name, step) for generation, name, step in keys)
        self._untold: list[tuple[Open, Key]] = []
        self._commits = 0
        self._queue: deque[tuple[Open, Standing]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, session: Session, ask: Ask) -> None:
        """A rank asks, or asks again after a reconnect."""
        of_stream = sum(number == session.stream.id for number, _ in self._open)
        key = session.stream.id, ask.number
        if key not in self._open and of_stream >= MAX_ASKS:
            self._answer(session, Value(ask.number, None, f"{MAX_ASKS} values are asked for already"))
            return
        if key not in self._open:
            self._open[key] = Open(session, ask)
        self._wake()

    def forget(self, session: Session) -> None:
        """Its process is gone; one that was only silent asks again."""
        self._open = {key: each for key, each in self._open.items() if each.session is not session}

    def asked(self) -> tuple[Asked, ...]:
        """Whose standing has to be known for the questions to go on."""
        return tuple(dict.fromkeys(each.asked for each in self._open.values() if not each.busy))

    def advance(self, standings: Mapping[Asked, Standing | None]) -> None:
        """A commit is done, and the items that came of it are in the lookup."""
        self._commits += 1
        for each in list(self._open.values()):
            if each.busy or each.asked not in standings or each.session.flow.committed < each.ask.next_seq:
                continue
            standing = standings[each.asked]
            if standing is None:
                self._tell(each, None, "the run was started again since: another generation has superseded this one")
            elif standing.step is None:
                rank = f"rank {each.session.stream.rank}"
                self._tell(each, None, f"{rank} has not logged {each.ask.name!r}, or not for long: give the step")
            elif not standing.open:
                each.busy = True
                self._queue.append((each, standing))
        if self._queue and self._task is None:
            self._task = asyncio.create_task(self._serve(), name="asks")

    def committed(self, facts: Mapping[str, Any]) -> None:
        """These facts are journaled: what was decided in them can be told."""
        journaled, _ = facts.get(FACT, (0, ()))
        while self._untold and self._untold[0][0].decided <= journaled:
            each, key = self._untold.pop(0)
            self._tell(each, None, _no_value(key))

    async def close(self) -> None:
        """Answer nothing any more: the clients ask again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        try:
            while self._queue:
                await self._search(*self._queue.popleft())
        except Exception as error:  # a journal that can't be read; what is asked stays open, and is looked for again
            log.exception("reduced values can't be looked up", extra=about("lookup-failed", cause=error))
            self._queue.clear()
            for each in self._open.values():
                each.busy = False
        finally:
            self._task = None

    async def _search(self, each: Open, standing: Standing) -> None:
        assert standing.step is not None
        key = standing.generation, each.ask.name, standing.step
        if key in self._none:
            self._decide(each, key)
            return
        commits = self._commits
        value = await self._lookup.first(each.ask.name, standing.step, standing.generation, each.searched)
        # From here to the end nothing else runs: what is decided is so for every item that there is.
        if value is not None:
            self._tell(each, value, "")
        elif standing.past or key in self._none:
            self._decide(each, key)
        else:
            each.searched, each.busy = self._lookup.newest, False
            if self._commits != commits:  # its standing may be another by now
                self._wake()

    def _decide(self, each: Open, key: Key) -> None:
        """There is no value, and there never will be: journal that, then tell it."""
        self._none[key] = None
        self._decided += 1
        each.decided = self._decided
        while len(self._none) > MOST_DECIDED:
            del self._none[next(iter(self._none))]
        self._untold.append((each, key))
        self._journal(FACT, [self._decided, [list(key) for key in self._none]])

    def _tell(self, each: Open, value: float | None, reason: str) -> None:
        self._open.pop((each.session.stream.id, each.ask.number), None)
        self._answer(each.session, Value(each.ask.number, value, reason))


def _no_value(key: Key) -> str:
    _, name, step = key
    return f"no rank logged {name!r} at step {step}, or only after the step had closed"
