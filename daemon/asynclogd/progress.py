"""How far each rank is, and which ranks a step waits for.

A rank's mark is the lowest step that it may still have values for: its watermark, or more after a flush, or less
while values are held on a device. A flush passes the steps that its own rank has logged. The steps that only others
have logged are passed together: flushes are counted, and when every rank that is waited for has said its n-th, all
ranks have passed the highest step of those n-th flushes. So ranks of one program, which flush equally often, get
out of it at once, and a rank that is a flush ahead never closes a step that another one is about to log.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asynclogd.launches import is_rejoined

WORST = {"success": 0, "interrupted": 1, "killed": 2, "failed": 3}

MOST_AHEAD = 64
"""Flushes of one rank that wait for the others' to be matched: of a rank that flushes alone, the latest."""

LAST_STEP = (1 << 63) - 1


@dataclass(slots=True)
class Rank:
    """One rank of the current generation."""

    joined: float
    """when its latest incarnation joined"""
    watermark: int | None = None
    """the highest step of the run that it has fed"""
    own: int | None = None
    """the highest step that it has fed in a lane with steps of its own"""
    fed: bool = False
    """whether its latest incarnation has fed anything"""
    suspended: bool = False
    """not waited for until it catches up"""
    status: str = ""
    """how it ended, "" while it lives"""
    passed: int | None = None
    """the highest step that it has flushed"""
    held: int | None = None
    """values of this step or later are on their way to it"""
    flushes: int = 0
    """how often it has flushed, counted from the others' number when it joined"""
    unmatched: list[int] = field(default_factory=list)
    """the steps of its latest flushes, which others have not matched yet"""

    def mark(self, passed: int | None) -> int | None:
        """The lowest step that it may have values for, given the step that all ranks have passed; None before any."""
        mark = self.watermark
        for step in (self.passed, passed):
            if step is not None and (mark is None or mark <= step):
                mark = min(step + 1, LAST_STEP)
        return mark if mark is None or self.held is None else min(mark, self.held)


@dataclass(slots=True)
class Progress:
    """The ranks of one generation. Time comes in; nothing here expires by itself but in `expire`."""

    launch: str
    world: int
    generation: int
    join_deadline: float
    first_join: float
    first_feed: float | None = None
    joining: bool = True
    """whether ranks that have not joined are still waited for"""
    ranks: dict[int, Rank] = field(default_factory=dict)
    flushes: int = 0
    """how many flushes every rank has said"""
    passed: int | None = None
    """the highest step that all ranks have passed by them"""
    expected: int = 0
    """the largest world that the processes tell of that are there now; `world` is the largest there ever was"""

    def grow(self, world: int, now: float) -> None:
        """A rank says that the world is larger: the others have as long to join as they ever had, and from now on where
        processes come and go, of which the first may have been alone for long.
        """
        self.expected, self.world = world, max(self.world, world)
        self.joining = True
        if is_rejoined(self.launch):
            self.first_join = now

    def join(self, rank: int, now: float) -> None:
        """A rank's process says hello: for the first time, or as another incarnation that goes on."""
        known = self.ranks.get(rank)
        if known is None:
            self.ranks[rank] = Rank(now, flushes=self.flushes)
        else:
            known.joined, known.fed, known.suspended, known.status = now, False, False, ""
            known.held, known.flushes, known.unmatched = None, self.flushes, []
            if is_rejoined(self.launch):  # what another process has come to says nothing of this one
                known.watermark = known.own = known.passed = None
        if len(self.ranks) >= self.expected:
            self.joining = False

    def begin_again(self, now: float) -> None:
        """Every rank had ended, and their next processes come: none is behind or ahead, and as many are waited for as
        they tell of. After a training in processes of its own a script may go on alone.
        """
        self.ranks.clear()
        self.first_join, self.first_feed, self.joining, self.expected = now, None, True, 0
        self.passed = None

    def fed(self, rank: int, step: int, now: float, *, own: bool = False) -> None:
        """The rank has fed steps up to `step`, of the run or of a lane's own."""
        state = self.ranks[rank]
        if self.first_feed is None:
            self.first_feed = now
        state.fed = True
        if own:
            state.own = step if state.own is None else max(state.own, step)
        else:
            state.watermark = step if state.watermark is None else max(state.watermark, step)

    def flush(self, rank: int, step: int) -> None:
        """The rank has nothing more for the steps up to `step`."""
        state = self.ranks[rank]
        if state.own is not None and step <= state.own:
            # The highest step that it logged is none of the run's, or may be: what it passes of that is sure.
            step = min(step, -1 if state.watermark is None else state.watermark)
        state.passed = step if state.passed is None else max(state.passed, step)
        state.flushes += 1
        if state.flushes > self.flushes:
            state.unmatched = [*state.unmatched, step][-MOST_AHEAD:]

    def hold(self, rank: int, step: int | None) -> None:
        """Values of `step` or later are on their way to the rank; None when none are any more."""
        self.ranks[rank].held = step

    def match(self) -> None:
        """See whether flushes are complete now: each rank that is waited for has said as many."""
        if self.joining or not any(state.unmatched for state in self.ranks.values()):
            return
        complete = min((state.flushes for state in self._waited_for()), default=self.flushes)
        if complete <= self.flushes:
            return
        for state in self.ranks.values():
            ahead = max(0, state.flushes - complete)
            steps = state.unmatched[: max(0, len(state.unmatched) - ahead)]
            self.passed = max((step for step in (self.passed, *steps) if step is not None), default=None)
            state.unmatched = state.unmatched[len(steps) :]
        self.flushes = complete

    def reconsider(self, rank: int, *, near: bool) -> None:
        """A suspended rank has fed: wait for it again when it is near the others, or has caught up with one."""
        state = self.ranks[rank]
        marks = [other.watermark for other in self._waited_for() if other.watermark is not None]
        state.suspended = not (near or not marks or (state.watermark is not None and state.watermark >= min(marks)))

    def end(self, rank: int, status: str) -> None:
        """The rank said END, or died without it: `killed`, unless it had ended before."""
        state = self.ranks.get(rank)
        if state is not None and not state.status:
            state.status = status

    def _waited_for(self) -> list[Rank]:
        return [self.ranks[rank] for rank in self.waited_for()]

    def low(self) -> tuple[bool, int | None]:
        """(whether steps may close at all, the lowest mark of the ranks that are waited for).

        The mark is None when nobody is waited for: every step may close.
        """
        if self.joining:
            return False, None
        marks = [state.mark(self.passed) for state in self._waited_for()]
        if not marks:
            return True, None
        known = [mark for mark in marks if mark is not None]
        return (True, min(known)) if len(known) == len(marks) else (False, None)

    def waited_for(self) -> list[int]:
        """The ranks that steps wait for."""
        return [rank for rank, state in self.ranks.items() if not state.status and not state.suspended]

    def at(self, step: int) -> list[int]:
        """Ranks that are waited for and have come exactly to `step`."""
        return [rank for rank in self.waited_for() if self.ranks[rank].mark(self.passed) == step]

    def suspend_behind(self, step: int, *, own: bool = False) -> None:
        """A deadline expired at `step`: whoever has not come so far is not waited for until it catches up, and
        values that are held on a device since then are late when they come. With `own` it was one of those steps, and
        who has none of them is not behind.
        """
        for state in self._waited_for():
            if own:
                state.suspended = state.own is not None and state.own < step
                continue
            if state.watermark is None or state.watermark < step:
                state.suspended = True
            if state.held is not None and state.held <= step:
                state.held = None

    def _patience(self, state: Rank) -> float | None:
        """Until when a rank that has fed nothing is waited for: data must flow before its silence counts."""
        if state.fed or state.status or state.suspended or self.first_feed is None:
            return None
        return max(state.joined, self.first_feed) + self.join_deadline

    def next_deadline(self) -> float | None:
        """When `expire` would change something."""
        due = [self.first_join + self.join_deadline] if self.joining else []
        due += [until for until in map(self._patience, self.ranks.values()) if until is not None]
        return min(due, default=None)

    def expire(self, now: float) -> None:
        """Stop waiting for ranks that have not joined, or not fed anything, in time."""
        if self.joining and now >= self.first_join + self.join_deadline:
            self.joining = False
        for state in self.ranks.values():
            until = self._patience(state)
            if until is not None and now >= until:
                state.suspended = True

    def over(self) -> str | None:
        """The worst status when every rank has ended and no other is waited for, else None."""
        if self.joining or not self.ranks or not all(state.status for state in self.ranks.values()):
            return None
        return max((state.status for state in self.ranks.values()), key=WORST.__getitem__)
