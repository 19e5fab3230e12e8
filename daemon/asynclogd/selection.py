"""Selection: a backend is shown some names only, or steps from one on. Pure, like the rate limit that it wraps.

It serves `asynclog replay --names --since`, and whoever wants one backend to have less. What is not shown counts as
`limited`: the ledger balances as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from asynclogd import cells
from asynclogd.delivery import Limiter
from asynclogd.points import Media, Points

CACHED_LAYOUTS = 64


class Selection:
    """Lets names pass that match one of `names` (fnmatch; none: all), at steps from `since` on (None: all), and gives
    them to `inner`.
    """

    def __init__(self, inner: Limiter, names: Sequence[str] = (), since: int | None = None) -> None:
        self._inner, self._names, self._since = inner, tuple(names), since
        self._left_out = 0
        self._columns: dict[tuple[str, ...], NDArray[np.intp]] = {}

    @property
    def limited(self) -> int:
        """Logged values left out, here and by the limiter within."""
        return self._left_out + self._inner.limited

    @property
    def held(self) -> int:
        """Logged values that the limiter within holds."""
        return self._inner.held

    def shows(self, media: Media) -> bool:
        """Whether a media item passes."""
        early = self._since is not None and media.step < self._since
        return not early and self._matches(media.name) and self._inner.shows(media)

    def shape(self, points: Points) -> list[Points]:
        """What is due of the points that pass."""
        passed = self._pass(points)
        self._left_out += points.logged_total - passed.logged_total
        return [table for table in self._inner.shape(passed) if len(table)]

    @property
    def due(self) -> float:
        """When something of it is to go out."""
        return self._inner.due

    @property
    def patience(self) -> float:
        """For how long that is held at most, s."""
        return self._inner.patience

    def flush(self, until: float = float("inf")) -> list[Points]:
        """What is held, all of it or what is due at `until`."""
        return self._inner.flush(until)

    def state(self) -> bytes:
        """The state of the limiter within: a selection has none."""
        return self._inner.state()

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        self._left_out = 0
        self._inner.restore(state)

    def _pass(self, points: Points) -> Points:
        columns = self._matching(points.names)
        passed = points if len(columns) == len(points.names) else cells.columns_of(points, columns)
        if self._since is None or bool((points.steps >= self._since).all()):
            return passed
        return cells.rows_of(passed, np.flatnonzero(points.steps >= self._since))

    def _matching(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        columns = self._columns.get(names)
        if columns is None:
            columns = np.flatnonzero([self._matches(name) for name in names])
            if len(self._columns) >= CACHED_LAYOUTS:
                self._columns.clear()
            self._columns[names] = columns
        return columns

    def _matches(self, name: str) -> bool:
        return not self._names or any(fnmatchcase(name, pattern) for pattern in self._names)
