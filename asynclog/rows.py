"""Calls of `log()` made into records of the ring: everything that the hot path in writer.py leaves to care.

`Rows` is the state behind a run's lock. Who writes anything holds it and is `Writer.busy`: the lock keeps the others of
us out, and `busy` the compiled `log()`, which takes no lock. The sender's thread (`begin`, `end`) never waits for it: a
caller that waits for room holds it, and waits for that very thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from asynclog import steps
from asynclog._media.copies import DeviceMedia
from asynclog._media.writing import MediaWriter
from asynclog.bodies import Bodies
from asynclog.layouts import Layouts, Packed, tail_for
from asynclog.notices import Notices
from asynclog.reduce import Reductions
from asynclog.ring import Ring
from asynclog.sorting import Sorted, sort
from asynclog.tensors import CapturingError, DeviceQueue, DeviceRow, Waiting, snapshot
from asynclog.values import EXACT, PLAIN, Problem, name_problem
from asynclog_proto.records import Hold, encode

CLOSED_PATIENCE_S = 0.05
"""s: so long the sender waits for the lock of a run that takes nothing any more."""


class Rows:
    """Rows, steps and layouts of a stream. `closed` is why nothing is taken any more: "after_finish", "after_fork"
    or "disabled".
    """

    def __init__(self, ring: Ring, notices: Notices, bodies: Bodies, *, strict: bool) -> None:
        self.ring = ring
        self.writer = ring.writer
        self.writer.lock = threading.RLock()
        self.devices = DeviceQueue()
        self.held: int | None = None
        """the step of the last HOLD record: rows of steps from there on wait for their device"""
        self.layouts = Layouts(ring.append, ring.capacity // 4)
        self.writer.layouts = self.layouts.ready
        self.closed: str | None = None
        self._notices = notices
        self._strict = strict
        self._reductions = Reductions(self.append)
        self.media = MediaWriter(ring, bodies, self.tell, notices.add)

    @property
    def lock(self) -> threading.RLock:
        """What a writer of more than a plain row holds, see Writer."""
        return self.writer.lock

    def begin(self) -> bool:
        """For the sender's thread, where no signal handler runs: become the only writer, until `end`. False when
        another thread is one.
        """
        # Once closed nobody waits for us, but threads that log on are refused under the lock: it is hardly ever free.
        if not self.lock.acquire(timeout=0.0 if self.closed is None else CLOSED_PATIENCE_S):
            return False
        self.writer.busy = True
        return True

    def end(self) -> None:
        """Others may write."""
        self.writer.busy = False
        self.lock.release()

    def log(self, metrics: Any, step: Any, reduce: Any, weight: Any, now: float | None = None) -> None:
        """One call, by the only writer. Raises only when strict, and then before anything is written."""
        if self.closed is not None:
            self._refuse(self.closed, metrics)
            return
        if not isinstance(metrics, Mapping):
            text = f"log() takes a mapping of names to numbers, not {type(metrics).__name__}"
            sorted_ = Sorted(problems=[Problem("bad_value", "", text, error=TypeError)], issued=1)
        else:
            sorted_ = self._plain(metrics) or sort(metrics)
        problems = sorted_.problems
        step = steps.next_step(step, self.writer, problems)
        is_row = not sorted_.media or sorted_.plain or sorted_.device
        if is_row and (backward := steps.backward_problem(step, self.writer)):
            problems.append(backward)
        weight, now = steps.check_weight(weight, problems), steps.check_time(now, problems)
        reduce = self._reductions.check(reduce, problems)
        if self._strict and any(problem.is_error for problem in problems):
            raise next(problem.error(problem.text) for problem in problems if problem.is_error)
        self.ring.issue(sorted_.issued)
        self.tell(problems)
        if sorted_.issued and (is_row or step >= self.writer.highest):
            steps.advance(step, self.writer)
        if reduce:
            self._reductions.define((*sorted_.plain, *sorted_.device), reduce)
        if sorted_.plain:
            self._write(tuple(sorted_.plain), tuple(sorted_.plain.values()), step, now, weight)
        if sorted_.device:
            self._snapshot(sorted_.device, step, now, weight)
        if sorted_.media:
            self._write_media(metrics, sorted_, step, now)

    def append(self, record: bytes) -> bool:
        """Any record but a row, by the only writer; False when the ring is full."""
        return len(record) <= self.ring.capacity // 2 and self.ring.append(record)

    def write_device_row(self, row: DeviceRow | DeviceMedia, values: Any) -> bool:
        """Write a row or a media item that has arrived, from the sender's thread; False when that has to wait."""
        if not self.begin():
            return False
        try:
            if isinstance(row, DeviceMedia):
                return self.media.write_arrived(row, values)
            room = 2 * (len(values) * 8 + 64) + sum(len(name) * 4 + 5 for name in row.names)
            if self.ring.used + room > self.ring.capacity // 4 * 3:
                return False
            self._write(row.names, values, row.step, row.time, row.weight)
        finally:
            self.end()
        return True

    def release_held(self) -> None:
        """Say what still waits for its device after rows were written, from the sender's thread; later when the lock
        or the ring is taken.
        """
        if self.held is None or not self.begin():
            return
        try:
            lowest = self.devices.lowest
            if lowest != self.held:
                self._hold(lowest, wait=False)
        finally:
            self.end()

    def lose_device_row(self, row: Waiting, error: Exception | str) -> None:
        """Count a row or a media item whose device broke or never answered."""
        if isinstance(row, DeviceMedia):
            self.media.forget(row)
        text = f"values of {', '.join(row.names)[:200]} could not be read from their device: {error}"
        self.tell([Problem("device", row.names[0], text, len(row.names))])

    def close(self, cause: str) -> None:
        """Take nothing any more, for `cause`. The hot path finds no layout from here on."""
        self.closed = cause
        self.writer.layouts = {}

    def after_fork(self, notices: Notices) -> None:
        """In a forked child: fresh locks, private counters, and nothing is taken any more."""
        self.writer.lock = threading.RLock()
        self.writer.busy = self.writer.held = self.writer.asleep = False
        self.close("after_fork")
        self.ring.detach()
        self._notices = notices
        self.devices = DeviceQueue()

    def tell(self, problems: Sequence[Problem]) -> None:
        """Count what was lost and keep the warnings for when the lock is free."""
        for problem in problems:
            if problem.lost:
                self.ring.drop(problem.cause, problem.lost)
            self._notices.add((problem.cause, problem.name), problem.text)

    # ---- steps of `log` -----------------------------------------------------------------------------------------

    def _plain(self, metrics: Mapping[Any, Any]) -> Sorted | None:
        """A call that needs no look at each value: good names, plain and small numbers; else None."""
        values = metrics.values()
        if not PLAIN.issuperset(map(type, values)):
            return None
        names = tuple(metrics)
        if not self.layouts.knows(names) and any(map(name_problem, names)):
            return None
        if names and not max(map(abs, values)) <= EXACT:
            return None
        return Sorted(plain=dict(metrics), issued=len(names))

    def _write(self, names: tuple[str, ...], values: Sequence[float], step: int, now: float, weight: float) -> None:
        first = 0
        for part in self.layouts.parts(names):
            self._write_part(part, values[first : first + len(part)], step, now, weight)
            first += len(part)

    def _write_part(
        self, names: tuple[str, ...], values: Sequence[float], step: int, now: float, weight: float
    ) -> None:
        if names not in self.writer.layouts and self.layouts.full:
            text = "too many different sets of names were logged together: log the same names in each call"
            self.tell([Problem("bad_name", "", text, len(names))])
            return
        packed = self.layouts.find(names)
        if packed is None or not self._fits(packed):
            text = "the ring is full, for the daemon and the spool are behind: rows are dropped and counted"
            self.tell([Problem("ring_full", "", text, len(names))])
            return
        pack_into, head, tail, size, width = packed
        tail = tail if weight == 1.0 else tail_for(weight, width)
        place = self.writer.place
        pack_into(self.ring.data, place, head, step, b"\xcb", now, tail, *values)
        self.ring.publish(place + size)

    def _write_media(self, metrics: Mapping[Any, Any], sorted_: Sorted, step: int, now: float) -> None:
        self.media.write(sorted_.media, step, now, self.devices)
        if not sorted_.problems and type(metrics) is dict:  # with a name twice, say, it is not known whose a form is
            self.media.learn(metrics, sorted_.media)

    def _fits(self, packed: Packed) -> bool:
        writer, size = self.writer, packed[3]
        return writer.place + size <= writer.limit or self.ring.reserve(size)

    def _snapshot(self, tensors: dict[str, Any], step: int, now: float, weight: float) -> None:
        names = tuple(tensors)

        def tell(text: str) -> None:
            self._notices.add(("device", text), text)

        try:
            taken = snapshot(tuple(tensors.values()), tell)
        except CapturingError:
            problem = Problem(
                "device", "", "log() of CUDA tensors inside a graph capture: log them outside", len(names)
            )
            self.tell([problem])
            return
        except Exception as error:
            self.lose_device_row(DeviceRow(names, None, step, now, weight), error)  # type: ignore[arg-type]
            return
        if not self.devices.put(DeviceRow(names, taken, step, now, weight)):
            text = "too many rows wait for their device: log device tensors less often"
            self.tell([Problem("device", "", text, len(names))])
            return
        self.ring.rouse()
        if self.devices.entered == 1:
            self.writer.wake()  # from now on the sender asks the device each flush interval, busy machine or not
        if self.held is None or step < self.held:
            # Plain rows of later steps overtake this one: without a HOLD the daemon would take its step for complete.
            self._hold(step, wait=True)

    def _hold(self, step: int | None, *, wait: bool) -> None:
        if self.ring.append(encode(Hold(step)), wait=wait):
            self.held = step

    def _refuse(self, cause: str, metrics: Any) -> None:
        if cause == "disabled":
            return
        lost = len(metrics) if isinstance(metrics, Mapping) else 1
        text = {
            "after_finish": "log() after finish(): the values are dropped and counted",
            "after_fork": "log() in a forked process is lost: log in the parent, or call asynclog.init() here",
        }[cause]
        self.ring.issue(lost)
        self.tell([Problem(cause, "", text, lost)])
        if self._strict:
            raise RuntimeError(text)
