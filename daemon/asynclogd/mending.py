"""Items of a journal that are spoiled, made anew from its inputs; what can't be is counted and named.

The reducer is a function of its inputs: where it no longer makes the items that are sound (it is a newer one, or has
other deadlines), what it makes is not taken for those that are not. The journal itself is left as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from asynclogd import itemcodec
from asynclogd.entries import Input
from asynclogd.incidents import about
from asynclogd.journal import Journal, JournalCorruptError
from asynclogd.points import Item, Lost, Points, logged
from asynclogd.reducer import ReducerSettings
from asynclogd.state import RunState

log = logging.getLogger(__name__)

REASON = "its row in the journal is spoiled (a disk's error?)"


Inputs = Callable[[int], Iterable[Input]]
"""A run's inputs after one, by its number, in order."""


def restored(journal: Journal, settings: ReducerSettings, inputs: Inputs | None = None) -> RunState:
    """A run's state: by its snapshot and the inputs after it, by all of them where another version has written it or
    it is spoiled. `inputs` reads them, by default the journal. Raises JournalCorruptError.
    """
    inputs = inputs or _inputs_of(journal)
    snapshot = journal.snapshot()
    if snapshot is not None:
        after, blob = snapshot
        try:
            return RunState.restore(settings, blob, inputs(after))
        except ValueError as error:
            text = "%s: all of it is read, for the snapshot in it is of another version: %s"
            log.warning(text, journal.path, error, extra=about("snapshot-foreign", cause=error))
    return RunState.restore(settings, None, inputs(0))


def _inputs_of(journal: Journal) -> Inputs:
    return lambda after: (entry for _, entry in journal.inputs(after))


class Items:
    """Reads a journal's items, whatever has become of their rows."""

    def __init__(self, journal: Journal, settings: ReducerSettings | None = None) -> None:
        """`settings`: those by which the items were made, as far as is known."""
        self._journal = journal
        self._settings = settings or ReducerSettings()
        self._in_place: dict[int, Item] = {}
        """of those that are spoiled"""
        self._tried = False

    def read(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """As `Journal.items`; with others in the places of those that are spoiled. Raises JournalCorruptError where
        more than rows is spoiled.
        """
        try:
            return self._journal.items(after, max_bytes)
        except JournalCorruptError as error:
            if not self._tried:  # once: it reads all of the journal
                self._tried = True
                self._mend(error)
            if not self._in_place:
                raise
        found: list[tuple[int, Item]] = []
        for offset, item in self._journal.scan(after):
            found.append((offset, self._in_place[offset] if item is None else item))
            max_bytes -= _weight(found[-1][1])
            if max_bytes <= 0:
                break
        return found

    def _mend(self, error: JournalCorruptError) -> None:
        spoiled = {offset for offset, item in self._journal.scan(0) if item is None}
        made = {offset: item for offset, item in _made_anew(self._journal, self._settings) if offset in spoiled}
        lost = sorted(spoiled - made.keys())
        if lost:
            values = self._missing(made.values())
            made.update({offset: Lost(values if offset == lost[0] else 0, REASON) for offset in lost})
            end = f"{len(lost)} of them, {values} values, are lost"
        else:
            end = "they are made anew from the inputs, nothing is lost"
        text = "%s: %d items are spoiled (%s): %s"
        told = about("journal-spoiled", cause=error, count=len(spoiled))
        log.error(text, self._journal.path, len(spoiled), error, end, extra=told)
        self._in_place = made

    def _missing(self, made: Iterable[Item]) -> int:
        """Logged values that are in no item that is known, though they had closed. 0 where nothing tells."""
        try:
            state = restored(self._journal, self._settings)
        except JournalCorruptError:
            return 0
        closed = state.journaled - state.reducer.open_values() - len(state.media)
        sound = sum(logged(item) for _, item in self._journal.scan(0) if item is not None)
        return max(0, closed - sound - sum(map(logged, made)))


def _weight(item: Item) -> int:
    """About how many bytes it takes."""
    return item.values.nbytes + 1000 if isinstance(item, Points) else 1000


def _made_anew(journal: Journal, settings: ReducerSettings) -> list[tuple[int, Item]]:
    """What the inputs make in place of spoiled items, as long as they make the sound ones around it too."""
    believed: list[tuple[int, Item]] = []
    tried: list[tuple[int, Item]] = []
    anew = _from_inputs(journal, settings)
    for offset, item in journal.scan(0):
        made = next(anew, None)
        if made is None or (item is not None and not _same(made, item)):
            return believed
        if item is None:
            tried.append((offset, made))
        else:
            believed += tried
            tried = []
    return believed + tried if next(anew, None) is None else believed


def _from_inputs(journal: Journal, settings: ReducerSettings) -> Iterator[Item]:
    """All items, as the inputs make them; they end at the first input that is spoiled."""
    state = RunState(settings)
    try:
        for _, group in groupby(_inputs_of(journal)(0), key=lambda entry: entry.now):
            for entry in group:
                state.apply(entry)
            yield from state.drain()
    except JournalCorruptError:
        return


def _same(one: Item, other: Item) -> bool:
    names = [getattr(item, "names", None) for item in (one, other)]
    return names[0] == names[1] and itemcodec.encode(one, lambda _: 0) == itemcodec.encode(other, lambda _: 0)
