"""The last step of each name while a run has one rank: its rows pass the reducer without leaving a trace there."""

from __future__ import annotations

MOST_NAMES = 1 << 17


class Latest:
    """The highest step by the names of a row, bounded: of more names than MOST_NAMES, those that came first go."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, ...], int] = {}
        self._names = 0

    def note(self, names: tuple[str, ...], step: int) -> None:
        """Rows of these names came, `step` the highest of them."""
        known = self._steps.get(names)
        if known is None:
            self._names += len(names)
        self._steps[names] = step if known is None else max(known, step)
        while self._names > MOST_NAMES and len(self._steps) > 1:
            oldest = next(iter(self._steps))
            self._names -= len(oldest)
            del self._steps[oldest]

    def of(self, name: str) -> int | None:
        """The highest step at which a name was logged, None when it was not."""
        return max((step for names, step in self._steps.items() if name in names), default=None)

    def fields(self) -> list[tuple[list[str], int]]:
        """What `note` is to be told to be here again."""
        return [(list(names), step) for names, step in self._steps.items()]
