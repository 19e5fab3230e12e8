"""Rows of a journal that are spoiled: what it holds twice is made anew, and what is lost is counted and named.

The items come of the inputs, so a spoiled item is made again from them; the state comes of a snapshot and the inputs
after it, so a spoiled snapshot is not needed, and of an input that is spoiled after it only the values of steps that
were still open are lost. The reducer is a function of its inputs: where it no longer makes the items that are sound (it
is a newer one, or has other settings), what it makes is not taken for those that are not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from asynclogd import itemcodec
from asynclogd.entries import Cause, Commit, Input
from asynclogd.incidents import about
from asynclogd.journal import Journal, JournalCorruptError
from asynclogd.points import Item, Lost, logged
from asynclogd.reducer import ReducerSettings
from asynclogd.state import RunState, join_payload

log = logging.getLogger(__name__)

REASON = "its row in the journal is spoiled (a disk's error?)"


def restored(journal: Journal, settings: ReducerSettings, inputs: Callable[[int], Iterable[Input]]) -> RunState:
    """A run's state: by its snapshot and the `inputs` after it, by all of them where another version has written it.
    Inputs that are spoiled are passed over from now on. Raises JournalCorruptError where that can't be done.
    """
    try:
        return _restored(journal, settings, inputs)
    except JournalCorruptError as error:
        _mend_items(journal, settings, error, lambda _: 0)  # while the inputs before the spoiled one still tell them
        if not _pass_over(journal, settings, error):
            raise
    state = _restored(journal, settings, inputs)
    state.reducer.tally.journaled += max(0, _logged(journal) - _closed(state))  # of steps that had closed before
    journal.commit(Commit(snapshot=state.snapshot()))
    return state


def _restored(journal: Journal, settings: ReducerSettings, inputs: Callable[[int], Iterable[Input]]) -> RunState:
    snapshot = journal.snapshot()
    if snapshot is not None:
        after, blob = snapshot
        try:
            return RunState.restore(settings, blob, inputs(after))
        except ValueError as error:
            text = "%s: all of it is read, for the snapshot in it is of another version: %s"
            log.warning(text, journal.path, error, extra=about("snapshot-foreign", cause=error))
    return RunState.restore(settings, None, inputs(0))


def _pass_over(journal: Journal, settings: ReducerSettings, error: JournalCorruptError) -> int:
    """Put a tick in the place of each spoiled input, and the join of a stream where that has gone; how many there were.
    What they held is counted as lost, as far as they still tell whose it was.
    """
    snapshot = journal.snapshot()
    streams = {stream.id: stream for stream in journal.streams()}
    joined = RunState.restore(settings, snapshot[1], ()).joined if snapshot is not None else set()
    now, spoiled = 0.0, {}
    for number, entry, is_sound in journal.scan.inputs(snapshot[0] if snapshot is not None else 0):
        if not is_sound or entry is None:
            spoiled[number] = entry, now
            continue
        now = entry.now
        if entry.cause is Cause.JOIN:
            joined.add(entry.stream)
    missing = [stream for stream in streams.values() if stream.id not in joined]
    passed, records = {}, 0
    for number, (entry, now) in spoiled.items():
        if missing:
            joins = missing.pop(0)
            passed[number] = Input(Cause.JOIN, joins.id, payload=join_payload(joins), now=now)
            continue
        passed[number] = Input(Cause.TICK, now=now)
        if entry is not None and entry.cause is Cause.BATCH and entry.stream in streams and entry.count > 0:
            stream = streams[entry.stream]
            streams[entry.stream] = replace(stream, lost=stream.lost + min(entry.count, stream.next_seq))
            records += min(entry.count, stream.next_seq)
    if passed:
        journal.scan.put(inputs=passed, streams=list(streams.values()))
        text = "%s: %d inputs are spoiled (%s): %d records are lost as far as their steps were still open"
        log.error(text, journal.path, len(passed), error, records, extra=_told(error, len(passed)))
    return len(passed)


def items(journal: Journal, settings: ReducerSettings, after: int, max_bytes: int) -> list[tuple[int, Item]]:
    """`Journal.items`; those that are spoiled are made anew, or counted as lost, and put in their places."""
    try:
        return journal.items(after, max_bytes)
    except JournalCorruptError as error:
        if not _mend_items(journal, settings, error, lambda known: _unknown(journal, settings, known)):
            raise
        return journal.items(after, max_bytes)


def _mend_items(
    journal: Journal, settings: ReducerSettings, error: JournalCorruptError, missing: Callable[[int], int]
) -> int:
    """Put others in the places of all items that are spoiled; how many there were. `missing`: how many logged values
    there are beyond those of the items that are known.
    """
    spoiled = {offset for offset, item in journal.scan.items() if item is None}
    if not spoiled:
        return 0
    made = {offset: item for offset, item in _made_anew(journal, settings) if offset in spoiled}
    lost = sorted(spoiled - made.keys())
    if lost:
        values = missing(_logged(journal) + sum(map(logged, made.values())))
        made.update({offset: Lost(values if offset == lost[0] else 0, REASON) for offset in lost})
        text = "%s: %d items are spoiled (%s): %d of them, %d values, are lost"
        log.error(text, journal.path, len(spoiled), error, len(lost), values, extra=_told(error, len(spoiled)))
    else:
        text = "%s: %d items were spoiled (%s): they are made anew from the inputs, nothing is lost"
        log.warning(text, journal.path, len(spoiled), error, extra=_told(error, len(spoiled)))
    journal.scan.put(items=made)
    return len(spoiled)


def _unknown(journal: Journal, settings: ReducerSettings, known: int) -> int:
    state = restored(journal, settings, lambda after: (entry for _, entry in journal.inputs(after)))
    return max(0, _closed(state) - known)


def _told(error: JournalCorruptError, count: int) -> dict[str, object]:
    return about("journal-spoiled", cause=error, count=count)


def _made_anew(journal: Journal, settings: ReducerSettings) -> list[tuple[int, Item]]:
    """What the inputs make in place of spoiled items, as long as they make the sound ones around it too."""
    believed: list[tuple[int, Item]] = []
    tried: list[tuple[int, Item]] = []
    anew = _from_inputs(journal, settings)
    for offset, item in journal.scan.items():
        made = next(anew, None)
        if made is None or (item is not None and not _same(made, item)):
            return believed
        if item is None:
            tried.append((offset, made))
        else:
            believed, tried = [*believed, *tried], []
    return [*believed, *tried] if next(anew, None) is None else believed


def _from_inputs(journal: Journal, settings: ReducerSettings) -> Iterator[Item]:
    """All items, as the inputs make them; they end at the first input that is spoiled."""
    state = RunState(settings)
    try:
        for _, group in groupby((entry for _, entry in journal.inputs(0)), key=lambda entry: entry.now):
            for entry in group:
                state.apply(entry)
            yield from state.drain()
    except JournalCorruptError:
        return


def _same(one: Item, other: Item) -> bool:
    names = [getattr(item, "names", None) for item in (one, other)]
    return names[0] == names[1] and itemcodec.encode(one, lambda _: 0) == itemcodec.encode(other, lambda _: 0)


def _logged(journal: Journal) -> int:
    """Logged values of the items that are sound."""
    return sum(logged(item) for _, item in journal.scan.items() if item is not None)


def _closed(state: RunState) -> int:
    """Logged values that have become items, as the state counts them."""
    return state.journaled - state.reducer.open_values() - len(state.media)
