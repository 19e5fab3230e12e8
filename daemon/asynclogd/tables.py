"""A table: the partials of some metrics that share a spec, for each step that is open or was closed lately."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd import ranksets
from asynclogd.lanes import RUN, Lane, Origin
from asynclogd.metrics import Spec
from asynclogd.partials import PARTIALS, Cells, Entering
from asynclogd.slots import OPEN, Index, Slots

TABLE_BYTES = 8 << 10
NAME_BYTES = 256
"""What a table takes beside its cells, about: for itself and for each of its names."""

_FEW = 4


class Table:
    """Cells (slot, column); `fields` hold (capacity, width) each, `bits` (capacity, width, words).

    `elder` is the table that had these metrics before a define changed their spec, as long as it has open steps,
    and `elder_columns` says where they are in it.
    """

    def __init__(self, number: int, names: tuple[str, ...], spec: Spec, world: int, lane: Lane = RUN) -> None:
        self.number = number
        self.names = names
        self.spec = spec
        self.lane = lane
        self.series = [spec.series(index, names) for index in range(len(spec.reductions))]
        self.partials = [PARTIALS[name] for name in spec.reductions]
        self.slots = Slots()
        self.used_at = 0
        self.elder: Table | None = None
        self.elder_columns: NDArray[np.int64] | None = None
        self.done: dict[int, NDArray[np.bool_]] = {}
        """of an open slot, the cells that are closed already"""
        self.again: dict[int, dict[int, int]] = {}
        """of an open slot and a rank, how many values it gave beyond one a metric"""
        self.empty: dict[str, tuple[Any, float]] = {"logged": (np.uint32, 0)}
        for partial in self.partials:
            self.empty.update(partial.fields)
        self.word, self.words = ranksets.layout(world)
        self.fields: Cells = {}
        self.slot_bytes = 0
        self._allocate(self.slots.capacity)

    def _allocate(self, capacity: int) -> None:
        self.fields = {name: np.empty((capacity, len(self.names)), dtype) for name, (dtype, _) in self.empty.items()}
        self.fields["bits"] = np.empty((capacity, len(self.names), self.words), self.word)
        self.slot_bytes = sum(array[:1].nbytes for array in self.fields.values())

    @property
    def nbytes(self) -> int:
        """Bytes in use, as the caps count them: independent of how much is allocated for growth."""
        return TABLE_BYTES + NAME_BYTES * len(self.names) + self.slots.used * self.slot_bytes

    def open_steps(self, steps: NDArray[np.int64], origin: Origin) -> Index:
        """Open empty steps; returns their slots."""
        room = self.slots.room(len(steps))
        if room != self.slots.capacity:
            self.resize(room)
        slots = self.slots.open_steps(steps, origin)
        for name, array in self.fields.items():
            array[slots] = 0 if name == "bits" else self.empty[name][1]
        return slots

    def resize(self, capacity: int) -> None:
        """Move what is in use to arrays of another capacity."""
        order = self.slots.in_order()
        numbers = {int(slot): place for place, slot in enumerate(order)}
        before, self.slots = self.fields, self.slots.moved(order, capacity)
        self._allocate(capacity)
        for name, array in before.items():
            self.fields[name][: len(order)] = array[order]
        self.done = {numbers[slot]: mask for slot, mask in self.done.items()}
        self.again = {numbers[slot]: counts for slot, counts in self.again.items()}

    def widen(self, world: int) -> None:
        """The world has grown: make room in the sets of ranks."""
        word, words = ranksets.layout(world)
        if (word, words) == (self.word, self.words):
            return
        # Little-endian words laid end to end are the same bits whatever the size of a word.
        old = np.ascontiguousarray(self.fields["bits"].astype(self.word.newbyteorder("<"))).view(np.uint8)
        new = np.zeros((*old.shape[:2], words * word.itemsize), np.uint8)
        new[..., : old.shape[2]] = old
        self.word, self.words = word, words
        self.fields["bits"] = new.view(word.newbyteorder("<")).astype(word)
        self.slot_bytes = sum(array[:1].nbytes for array in self.fields.values())

    def add(self, slots: Index, columns: Index, entering: Entering) -> None:
        """Let one rank's values (k, n) enter the cells of k different slots and n columns."""
        times = self.slots.times
        times[slots] = np.maximum(times[slots], entering.times[:, 0])
        for rows, chosen in _pieces(slots):
            weights = None if entering.weights is None else entering.weights[rows]
            piece = Entering(entering.rank, entering.values[rows], entering.times[rows], weights)
            self._add(chosen, columns, piece)

    def _add(self, slots: Index, columns: Index, entering: Entering) -> None:
        index = grid(slots, columns)
        cells = {name: array[index] for name, array in self.fields.items()}
        cells["logged"] += 1
        word, bit = ranksets.place(entering.rank, self.word)
        held = cells["bits"][..., word]
        again = held & bit
        if again.any():
            self._count_again(slots, entering.rank, np.count_nonzero(again, axis=1))
        held |= bit
        for partial in self.partials:
            partial.add(cells, entering)
        if not (isinstance(slots, slice) and isinstance(columns, slice)):
            for name, array in self.fields.items():
                array[index] = cells[name]

    def _count_again(self, slots: Index, rank: int, counts: NDArray[np.int64]) -> None:
        numbers = np.arange(self.slots.capacity)[slots]
        more = np.flatnonzero((counts > 0) & (self.slots.state[numbers] == OPEN))
        for slot, count in zip(numbers[more].tolist(), counts[more].tolist(), strict=True):
            by_rank = self.again.setdefault(slot, {})
            by_rank[rank] = by_rank.get(rank, 0) + count

    def given(self, slots: NDArray[np.int64], columns: Index, rank: int) -> NDArray[np.bool_]:
        """Of which slots the rank has given some of the columns."""
        word, bit = ranksets.place(rank, self.word)
        held: NDArray[np.bool_] = (self.fields["bits"][grid(slots, columns)][..., word] & bit != 0).any(-1)
        return held

    def close(self, slots: NDArray[np.int64]) -> None:
        """These open slots are closed, and kept for late values."""
        self.slots.close(slots)
        if self.done or self.again:
            for slot in slots.tolist():
                self.done.pop(slot, None)
                self.again.pop(slot, None)

    def open_values(self, rank: int, up_to: int | None = None) -> int:
        """Values that a rank has in cells that are not closed yet, with `up_to` of the steps up to this one."""
        wanted = self.slots.state == OPEN
        if up_to is not None:
            wanted &= self.slots.steps <= up_to
        slots = np.flatnonzero(wanted)
        word, bit = ranksets.place(rank, self.word)
        if not len(slots) or word >= self.words:
            return 0
        given = (self.fields["bits"][slots, :, word] & bit) != 0
        total = int(np.count_nonzero(given))
        for slot, mask in self.done.items():
            if wanted[slot]:
                total -= int(np.count_nonzero((self.fields["bits"][slot, :, word] & bit != 0) & mask))
        return total + sum(by_rank.get(rank, 0) for slot, by_rank in self.again.items() if wanted[slot])


def grid(slots: Index, columns: Index) -> Any:
    """An index of the cells of all these slots and columns."""
    if isinstance(slots, slice) or isinstance(columns, slice):
        return (slots, columns)
    return np.ix_(slots, columns)


def _pieces(slots: Index) -> list[tuple[slice, Index]]:
    """Slots that nearly follow each other as a few slices, which NumPy changes in place; with the rows they take."""
    if isinstance(slots, slice):
        return [(slice(None), slots)]
    jumps = np.flatnonzero(np.diff(slots) != 1) + 1
    if len(jumps) > _FEW:
        return [(slice(None), slots)]
    edges = [0, *jumps.tolist(), len(slots)]
    firsts = [int(slots[begin]) for begin in edges[:-1]]
    return [
        (slice(begin, end), slice(first, first + end - begin))
        for begin, end, first in zip(edges, edges[1:], firsts)  # noqa: B905 - one edge more than pieces
    ]
