"""Rate limit: fewer points of a series for a backend, without losing what matters. Pure: no clock, no thread.

A rule gives the series whose names match a pattern (fnmatch; the first that matches counts) a highest rate in points a
second of the points' own times, so that a replay gives the same. Time is cut into buckets of 3/rate seconds, and of
each bucket a series keeps three points: its minimum, its maximum and its last. Spikes survive, and nothing is
averaged. NaN and infinities always pass, and whatever is held of their series passes before them: a series keeps
its order. So between two of them a bucket may give three points more.

A bucket is due when a point of any series under the same rule is past it, when one of any series at all is well past it
(GRACE) or long before it (SET_BACK), or when whoever has a clock says that it is over (`due`, `flush`). A clock that
jumps back by more than one bucket begins a bucket; one that is late by less counts for the bucket that is open.

A rule with a burst lets some points pass at once (burst.py); only what does not comes into buckets.

A rate of 0 shows nothing of these names: all their values are `limited`, NaN too. So are the daemon's own metrics of
its host where they are not wanted, by where they come from: a run may log the same names.

Accounting: a point that goes out accounts for its own logged values; those of a point that was left out are
`limited`; those of a point in an open bucket are `held`. In = out + limited + held, always.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclogd import cells
from asynclogd.burst import SET_BACK, Tokens
from asynclogd.cells import Cells, Rule
from asynclogd.points import Media, Points
from asynclogd.rates import Rate, parse
from asynclogd.thinning import thin, visits_of

POINTS_PER_BUCKET = 3
CACHED_LAYOUTS = 64

GRACE = 5.0
"""s: points of other series may be ahead by so much, for clocks differ and stragglers are waited for."""

_NEVER = float("inf")
"""The length of a bucket of which nothing goes out."""

_WITH_BURSTS = struct.Struct("<II")
"""Before a state that has token buckets: 0, and how long the rest of it is."""


class RateLimiter:
    """Shapes one backend's points by `rules`, {pattern: points a second, or a Rate}; no rules let all pass, but for the
    host's metrics without `host`.
    """

    def __init__(self, rules: Mapping[str, Rate | float], *, host: bool = True) -> None:
        """Raises ConfigError for a rate below 0."""
        self._rates = parse(rules)
        self._rules = [_kept(pattern, rate) for pattern, rate in self._rates.items()]
        self._host = host
        self._columns: dict[tuple[str, ...], list[NDArray[np.intp]]] = {}
        self._held: list[Cells]
        self._due: list[Points]
        self.restore(b"")

    @property
    def held(self) -> int:
        """Logged values of the points in open buckets."""
        due = sum(points.logged_total for points in self._due)
        return due + sum(cells.logged_total(held) for held in self._held)

    def shows(self, media: Media) -> bool:  # noqa: ARG002 - part of the interface
        """Every media item passes: rates are of points."""
        return True

    def shape(self, points: Points) -> list[Points]:
        """What is due now: all points that no rule covers, as a table, and those of buckets that are complete."""
        out = self._shaped(points)
        if not len(points.times):
            return out
        newest = float(points.times.max())
        over = [len(held) > 0 and self._is_past(rule, newest) for rule, held in enumerate(self._held)]
        return out + self._closed(over) if any(over) else out

    def _shaped(self, points: Points) -> list[Points]:
        due, self._due = self._due, []
        if points.host and not self._host:
            self.limited += points.logged_total
            return due
        if not self._rules:
            return [*due, points]
        free, *ruled = self._split(points.names)
        out = []
        for rule, columns in enumerate(ruled):
            if self._rules[rule][1] == _NEVER:
                self.limited += int(points.logged[:, columns].sum())
            elif len(columns):
                out.append(self._shape(rule, points, columns))
        if len(free) == len(points.names):
            return [*due, points]
        tables = [*due, *cells.tables(cells.join(out), self._names)]
        if len(free):
            tables.append(cells.columns_of(points, free))
        return tables

    @property
    def due(self) -> float:
        """When the first of the open buckets that hold anything is over, s since the epoch; infinite for none."""
        return self._next[0]

    @property
    def patience(self) -> float:
        """How long that bucket is, s: nothing in it has to wait for longer, also where the clock was set back."""
        return self._next[1]

    @property
    def _next(self) -> tuple[float, float]:
        """When the first of the open buckets that hold anything is over, and how long it is."""
        if self._due:
            return float("-inf"), 0.0
        holding = (rule for rule, held in enumerate(self._held) if len(held))
        return min(((self._end(rule), float(self._rules[rule][1])) for rule in holding), default=(_NEVER, _NEVER))

    def flush(self, until: float = float("inf")) -> list[Points]:
        """Every point that is held in a bucket that is over at `until`, in s since the epoch: those are closed. What
        comes for one of them yet is shaped by itself.
        """
        return self._closed([until == _NEVER or self._end(rule) <= until for rule in range(len(self._rules))])

    def _is_past(self, rule: int, newest: float) -> bool:
        """Whether a rule's open bucket is, by another point: also where the clock has been set back."""
        end, length = self._end(rule), float(self._rules[rule][1])
        return end <= newest - GRACE or newest < end - length - max(length, SET_BACK)

    def _closed(self, over: Sequence[bool]) -> list[Points]:
        """What is due, and what is held under the rules whose buckets are over."""
        due, self._due = self._due, []
        out = [held for held, closed in zip(self._held, over, strict=True) if closed]
        self._held = [cells.empty() if closed else held for held, closed in zip(self._held, over, strict=True)]
        return [*due, *cells.tables(cells.join(out), self._names)]

    def state(self) -> bytes:
        """Open buckets, for `restore`; empty when there are no rules."""
        if not self._rules:
            return b""
        state = cells.pack_state(self._rules, self._open, self._held, self._names, self._row)
        if not any(self._tokens):
            return state
        bursts = [tokens.state() if tokens is not None else None for tokens in self._tokens]
        return _WITH_BURSTS.pack(0, len(state)) + state + wire.pack(bursts)

    def restore(self, state: bytes) -> None:
        """Go on from a state. Points held under other rules than today's are due at once."""
        self.limited = 0
        self._due = []
        self._ids: dict[str, int] = {}
        self._names: list[str] = []
        self._row = 0
        self._open = [float("-inf")] * len(self._rules)
        self._held = [cells.empty() for _ in self._rules]
        lengths = [rule[1] for rule in self._rules]
        paired = zip(self._rates.values(), lengths, strict=True)
        self._tokens = [Tokens(rate, length) if rate.burst else None for rate, length in paired]
        if not state:
            return
        state, bursts = _split_state(state)
        rules, opened, held, names, row = cells.unpack_state(state)
        self._names, self._row = names, row
        self._ids = {name: number for number, name in enumerate(names)}
        if rules == self._rules:
            self._open, self._held = opened, held
            for tokens, burst in zip(self._tokens, bursts, strict=False):
                if tokens is not None:
                    tokens.restore(burst)
        else:
            self._due = cells.tables(cells.join(held), names)

    def _end(self, rule: int) -> float:
        """When a rule's open bucket is over."""
        return (self._open[rule] + 1) * float(self._rules[rule][1])

    def _split(self, names: tuple[str, ...]) -> list[NDArray[np.intp]]:
        """Columns that no rule covers, and then the columns of each rule."""
        columns = self._columns.get(names)
        if columns is None:
            rule_of = np.array([self._rule(name) for name in names], np.intp)
            columns = [np.flatnonzero(rule_of == rule) for rule in range(-1, len(self._rules))]
            if len(self._columns) >= CACHED_LAYOUTS:
                self._columns.clear()
            self._columns[names] = columns
        return columns

    def _rule(self, name: str) -> int:
        """The number of the rule that counts for a name, -1 where nothing limits it."""
        number = next((i for i, rule in enumerate(self._rules) if fnmatchcase(name, rule[0])), -1)
        return -1 if number >= 0 and self._rules[number][1] == 0 else number

    def _shape(self, rule: int, points: Points, columns: NDArray[np.intp]) -> Cells:
        series = np.array([self._id(points.names[column]) for column in columns], np.uint32)
        visits, opened, self._open[rule] = visits_of(points.times, self._rules[rule][1], self._open[rule])
        new = cells.of_columns(points, columns, series, self._row)
        self._row += len(points.steps)
        passing = self._passing(rule, points, columns, opened)
        held = self._held[rule]
        visit = np.concatenate([np.zeros(len(held), np.int64), np.tile(visits, len(columns))[~passing]])
        last = int(visits[-1]) if len(visits) else 0
        out, self._held[rule], limited = thin(cells.join([held, new[~passing]]), visit, last)
        self.limited += limited
        return cells.join([out, new[passing]])

    def _passing(
        self, rule: int, points: Points, columns: NDArray[np.intp], buckets: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which cells have a token, in the order of `cells.of_columns`."""
        tokens = self._tokens[rule]
        if tokens is None:
            return np.zeros(len(points.steps) * len(columns), bool)
        names = [points.names[column] for column in columns]
        finite = np.isfinite(points.values[:, columns])
        return np.ravel(tokens.passing(names, points.times, buckets, finite), order="F")

    def _id(self, name: str) -> int:
        number = self._ids.get(name)
        if number is None:
            number = self._ids[name] = len(self._names)
            self._names.append(name)
        return number


def _kept(pattern: str, rate: Rate) -> Rule:
    """(pattern, length of its buckets in s), and what else decides: held under another rule is another matter."""
    length = POINTS_PER_BUCKET / rate.steady if rate.points_per_second else _NEVER
    return (pattern, length, rate.burst, rate.min_interval) if rate.burst else (pattern, length)


def _split_state(state: bytes) -> tuple[bytes, list[Any]]:
    """The state of buckets of time and of token buckets. Raises ProtocolError."""
    if not state.startswith(bytes(4)):  # where there are no bursts, as ever, it begins with a length
        return state, []
    if len(state) < _WITH_BURSTS.size:
        raise ProtocolError("a rate limit's state ends early")
    end = _WITH_BURSTS.size + _WITH_BURSTS.unpack_from(state)[1]
    return state[_WITH_BURSTS.size : end], wire.unpack(state[end:], max_elements=2 * len(state))
