"""The last value of each series of a run, for who looks at a run from outside while it goes on."""

from __future__ import annotations

from collections.abc import Iterable

from asynclogd.points import Item, Points

MOST_SERIES = 1 << 14


class LastValues:
    """The reduced value of the highest step, by name; late values of older steps change nothing. Of more series than
    MOST_SERIES, those that came first count.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def append(self, items: Iterable[tuple[int, Item]]) -> None:
        """Items were journaled."""
        for _, item in items:
            if isinstance(item, Points) and len(item.steps):
                self._note(item)

    def _note(self, points: Points) -> None:
        row = int(points.steps.argmax())
        # A newer generation has superseded the steps of the older one, however high they were.
        place = points.generation, int(points.steps[row])
        for name, value in zip(points.names, points.values[row].tolist(), strict=True):
            known = self._places.get(name)
            if (known is None and len(self._places) < MOST_SERIES) or (known is not None and place >= known):
                self._places[name], self.values[name] = place, value
