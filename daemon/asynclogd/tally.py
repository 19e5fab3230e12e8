"""What a reducer remembers across rows and generations, beside its metrics, its ranks and its window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from asynclog_proto.records import Scalar
from asynclogd.rows import Rows

MAX_LAUNCHES = 1000
"""Older launches that are remembered."""

MOST_FACT_BYTES = 64 << 20
"""Params and summaries of a run, as they are kept. Values of new ones, or longer ones, are dropped then."""


@dataclass(frozen=True, slots=True)
class Climb:
    """How high a run has come: the highest step before its current launch, and in all; None for no step."""

    launch: str | None
    before: int | None
    top: int | None

    def before_launch(self, launch: str) -> int | None:
        """The highest step that a launch, which may be a new one, finds."""
        return self.before if launch == self.launch else self.top


@dataclass(slots=True)
class Tally:
    """Counts, facts, and the marks from which a rewind is told."""

    journaled: int = 0
    params: dict[str, Scalar] = field(default_factory=dict)
    summary: dict[str, Scalar] = field(default_factory=dict)
    launches: dict[str, tuple[int, int]] = field(default_factory=dict)
    """older launches: generation and world size"""
    late: int = 0
    """late values of older generations"""
    superseded: int = 0
    """values of older generations that are not told: they came when a newer one had begun to log these steps"""
    closed_early: int = 0
    """steps that caps closed in older generations"""
    highest: int | None = None
    """the highest step of older generations, when this one began"""
    since: int | None = None
    """the highest step that they have told since"""
    firsts: dict[int, int] = field(default_factory=dict)
    """the lowest step of each older generation that has fed steps of the run"""
    first: int | None = None
    """the lowest step of this generation so far"""
    top: int | None = None
    """the highest step of this generation so far"""
    begun: bool = False
    """this generation has put out points, and has fed steps of the run"""
    ended: bool = False
    """the run's end has been told"""
    fact_bytes: int = 0
    """of params and summary"""
    facts_dropped: int = 0
    """values of params and summaries for which there was no room"""

    @property
    def summit(self) -> int | None:
        """The highest step of all generations."""
        return max((step for step in (self.highest, self.since, self.top) if step is not None), default=None)

    def take(self, known: dict[str, Scalar], values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Take values of `params` or `summary`, as far as there is room; those that are new or not what they were."""
        # repr tells 1 from True and from 1.0, and finds NaN equal to NaN.
        new = {name: value for name, value in values.items() if name not in known or repr(known[name]) != repr(value)}
        for name, value in list(new.items()):
            grown = self.fact_bytes + _weight(name, value) - (_weight(name, known[name]) if name in known else 0)
            if grown > max(MOST_FACT_BYTES, self.fact_bytes):
                self.facts_dropped += 1
                del new[name]
            else:
                self.fact_bytes = grown
                known[name] = value
        return new

    def weigh(self) -> None:
        """Reckon `fact_bytes` anew."""
        facts = [*self.params.items(), *self.summary.items()]
        self.fact_bytes = sum(_weight(name, value) for name, value in facts)

    def supersede(self, launch: str, generation: int, world: int) -> None:
        """This launch is an older one from now on."""
        self.launches[launch] = (generation, world)
        if self.first is not None:
            self.firsts[generation] = self.first
        if len(self.launches) > MAX_LAUNCHES:
            forgotten, _ = self.launches.pop(next(iter(self.launches)))
            self.firsts.pop(forgotten, None)
        self.highest = self.summit
        self.first = self.top = self.since = None
        self.begun = False

    def note_steps(self, tables: Iterable[Rows]) -> None:
        """Rows of this generation, of steps of the run, are about to be fed."""
        for rows in tables:
            first, top = int(rows.steps.min()), int(rows.steps.max())
            self.first = first if self.first is None else min(self.first, first)
            self.top = top if self.top is None else max(self.top, top)

    def superseded_from(self, generation: int) -> int | None:
        """The step from which on newer generations have superseded an older one by now; None for no step."""
        firsts = [step for newer, step in self.firsts.items() if newer > generation]
        return min(firsts if self.first is None else [*firsts, self.first], default=None)

    def note_late(self, generation: int, rows: Rows) -> None:
        """Rows of an older generation, of steps of the run, are told now."""
        if len(rows.steps):
            first, top = int(rows.steps.min()), int(rows.steps.max())
            self.firsts[generation] = min(first, self.firsts.get(generation, first))
            self.since = top if self.since is None else max(self.since, top)

    def begin(self) -> int | None:
        """The generation puts out points: the step that it rewinds the run to, when it does."""
        if self.begun or self.first is None:
            return None
        self.begun = True
        marks = [step for step in (self.highest, self.since) if step is not None]
        return self.first if marks and self.first <= max(marks) else None


def _weight(name: str, value: Scalar) -> int:
    """Bytes that a fact takes in memory, about."""
    return 100 + len(name) + (len(value) if isinstance(value, str) else 8)
