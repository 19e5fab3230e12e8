"""The one thread of a run: takes ranges of the ring, talks to the daemon, spools when it is away.

It never does work for a record, only for batches, and holds the interpreter's lock for microseconds at a time.
"""

from __future__ import annotations

import threading
import time

from asynclog.backlog import Backlog
from asynclog.barriers import Barrier, Barriers
from asynclog.ending import Ending
from asynclog.launcher import Launcher
from asynclog.ledger import Ledger, from_daemon, of_rank
from asynclog.link import Bell, Link
from asynclog.logtimes import LogTimes
from asynclog.notices import Notices
from asynclog.questions import Questions
from asynclog.rhythm import Rhythm
from asynclog.ring import Ring
from asynclog.ringplace import RingFile
from asynclog.rows import Rows
from asynclog.spool import Spool
from asynclog.stream import DOZING_HEARTBEAT_S, Stream
from asynclog.talk import Talk
from asynclog_proto import records
from asynclog_proto.beats import next_beat
from asynclog_proto.frames import Finish, Hello, encode

DOZE_AFTER_S = 1.0
"""A rank that has logged nothing for so long is waited for, not asked."""

LOCK_PATIENCE_S = 5.0
"""How long the sender waits for a call of `log()` that is under way when it closes the ring."""


class Sender(threading.Thread):
    """Owns the socket and the spool; `launcher` is None offline, where everything goes to the spool at once."""

    def __init__(
        self,
        rows: Rows,
        file: RingFile,
        spool: Spool,
        hello: Hello,
        launcher: Launcher | None,
        notices: Notices,
        rhythm: Rhythm,
    ) -> None:
        super().__init__(name="asynclog-sender", daemon=True)
        self.bell = Bell()
        self.done = threading.Event()
        self.welcomed = threading.Event()
        """the daemon has answered, be it that it refuses"""
        self.spool = spool
        self.log_times = LogTimes()
        self._rows = rows
        self._ring: Ring = rows.ring
        self._file = file
        self._launcher = launcher
        self._notices = notices
        self._rhythm = rhythm
        self._collect_at = 0.0
        self._last_seq, self._logged_at = 0, 0.0
        self._dozes = False
        rows.writer.wake = self.bell.ring
        self.barriers = Barriers()
        self.questions = Questions()
        self.failed = False
        """a defect of ours has ended the thread"""
        self._backlog = Backlog(rows.ring, spool)
        self._stream = Stream(hello, self._backlog.flow, self.barriers, self.questions)
        self._link: Link | None = None
        self._talk = Talk(self._stream, self._backlog, rows, self.log_times, notices, self.welcomed)
        self._ending: Ending | None = None

    def finish(self, status: str, timeout: float) -> None:
        """Ask for the end; `done` is set when all is delivered, or spooled at the deadline.

        A later call can only bring the deadline nearer.
        """
        now = time.monotonic()
        if self._ending is None:
            self._ending = Ending(status, now + timeout, now)
        self._ending.deadline = min(self._ending.deadline, now + timeout)
        if not self.done.is_set():
            self.bell.ring()

    @property
    def _succeeded(self) -> bool:
        return self._ending is not None and self._ending.status == "success"

    @property
    def _has_ended(self) -> bool:
        return self._ending is not None and self._ending.said

    @property
    def online(self) -> bool:
        """Whether there is, or will be, a daemon to speak to."""
        return self._launcher is not None

    @property
    def refused(self) -> str | None:
        """Why the daemon does not take this stream, if it does not."""
        return self._stream.refused

    @property
    def step(self) -> int | None:
        """The highest step of the run before this launch, once `welcomed`."""
        return self._stream.step

    def run(self) -> None:
        """The thread: until the end, or a defect of ours, which leaves the ring to the daemon."""
        try:
            if self._launcher is not None:
                self._link = Link(self._launcher.endpoint, self.bell, self._launcher.keys)
            while not self._tick(now := time.monotonic()):
                self._wait(max(0.0, self._next_look(now) - time.monotonic()))
            self._leave()
        except Exception as error:
            self.failed = True
            where = self._file.path or "memory"
            text = f"the sender failed ({type(error).__name__}: {error}): records stay in the ring ({where})"
            self._notices.add("sender", text)
        finally:
            try:
                self._close()
                self._notices.say_quietly()
            finally:
                self.done.set()

    def _wait(self, seconds: float) -> None:
        # Acks can wait for the next flush while there is room: each time this thread wakes, the training pays for
        # it with a cold cache.
        calm = self._stream.flow.open and self._nobody_waits and self._ring.used < self._ring.capacity // 8
        (self.bell if calm or self._link is None else self._link).wait(seconds)

    def _next_look(self, now: float) -> float:
        if self._dozes or not self._rows.devices.entered:
            return self._collect_at
        # What is on a device has yet to come into the ring: until then a SIGKILL would take it.
        return min(self._collect_at, self._rhythm.next_look(now))

    def _tick(self, now: float) -> bool:
        """One round; True when there is nothing left to do."""
        self._rows.devices.write_ready(self._rows.write_device_row, self._rows.lose_device_row)
        self._rows.release_held()
        placed = self._place_barriers()
        placed |= self.questions.place(self._rows.devices.left, self._ring.writer.seq)
        if self._launcher is not None:
            (self._launcher.calm if self._nobody_waits else self._launcher.hurry)()
        if self._ending is not None:
            self._end(self._ending, now)
        # An ack may wake this thread too; what was logged since waits for the next flush, or batches would be tiny.
        hurries = placed or self._ending is not None or (self._dozes and not self._rows.writer.asleep)
        if now >= self._collect_at or hurries or self._ring.used > self._ring.capacity // 4:
            self._collect_at = self._rhythm.next_flush(now, may_wait=self._may_wait)
            self._backlog.collect()
            self._ring.tell_issued()
            self.log_times.add(self._ring.writer.take_time())
        if self._launcher is None or self._link is None:
            if self._backlog.spill(0):
                self.barriers.spooled(self._backlog.next_seq)
            self._backlog.let_go()
        else:
            self._talk.round(self._link, self._launcher, now)
            if self._ring.used > self._ring.capacity // 2:
                self._backlog.spill(self._ring.capacity // 2)
        self._notices.say_quietly()
        self._doze(now)
        return self._ending is not None and self._ending.is_over(now, self._stream, self._launcher)

    def _doze(self, now: float) -> None:
        """Where nothing was logged for a while, sleep until a call wakes it, or to say that it lives."""
        writer, devices, seq = self._rows.writer, self._rows.devices, self._ring.taken_seq
        if seq != self._last_seq:
            self._last_seq, self._logged_at = seq, now
        left = self._backlog.flow.queue or self._rows.held is not None or self._rows.media.bodies.used
        settled = self._is_settled and self._nobody_waits and not left
        writer.asleep = settled and now - self._logged_at > DOZE_AFTER_S
        if writer.asleep and (len(devices) or writer.seq != seq):  # who wrote before the line above has woken nobody
            writer.asleep = False
        if writer.asleep:
            self._collect_at = next_beat(now, DOZING_HEARTBEAT_S)
        elif self._dozes:  # it woke for something else than a flush
            self._collect_at = min(self._collect_at, self._rhythm.next_look(now))
        self._dozes = writer.asleep

    # ---- who waits ----------------------------------------------------------------------------------------------

    @property
    def _may_wait(self) -> bool:
        """Whether a flush may be put off: nobody waits for it, and there is no outbox, which acks keep from filling."""
        return self._is_settled and self._nobody_waits and self._rows.media.bodies.outbox is None

    @property
    def _is_settled(self) -> bool:
        return self._launcher is None or self._stream.flow.open

    @property
    def _nobody_waits(self) -> bool:
        return self._ending is None and not self.barriers and not self.questions

    def _place_barriers(self) -> bool:
        """Write the records of the barriers whose device rows have come. Whether there were any."""
        placed = False
        while (barrier := self.barriers.unplaced(self._rows.devices.left)) is not None:
            if self._has_ended or (next_seq := self._append(records.Pass(barrier.step))) is None:
                break
            barrier.next_seq = next_seq
            placed = True
        return placed

    def _append(self, record: records.Record) -> int | None:
        """Write a record from this thread, which never waits for the run's lock: who holds it may wait for us.

        The number of the next record; None when it could not be written now.
        """
        if not self._rows.begin():
            return None
        try:
            return self._ring.writer.seq if self._ring.append(records.encode(record), wait=False) else None
        finally:
            self._rows.end()

    def missing(self, barrier: Barrier) -> str:
        """Why a barrier is not reached yet, for a person; from any thread."""
        on_device = barrier.devices - self._rows.devices.left
        if barrier.next_seq is not None and self._launcher is not None:
            return self._stream.missing(barrier.next_seq, barrier.step)
        if barrier.next_seq is None and on_device > 0:
            return f"{on_device} rows still wait for their device"
        return f"the spool in {self.spool.directory} does not take more: the records are in the ring"

    # ---- the end ------------------------------------------------------------------------------------------------

    def _end(self, ending: Ending, now: float) -> None:
        """Write the END record, once every device row has arrived or the deadline is near."""
        if ending.said or (len(self._rows.devices) and not ending.is_near(now)):
            return
        for row in self._rows.devices.abandon():
            self._rows.lose_device_row(row, "it did not answer before the end")
        self._stream.finishing = self._append(records.End(ending.status)) is not None
        ending.said = self._stream.finishing or now >= ending.deadline

    def _leave(self) -> None:
        """What the daemon has not acked goes to the spool; when it all did, the ring can go."""
        self._backlog.collect()
        self._backlog.spill(0)
        if self._backlog.in_ring:
            where = self._file.path or "memory, and are lost"
            self._notices.add("left", f"records could not be spooled; they stay in {where}")
            return
        if self._launcher is not None and self._stream.flow.queue:
            why = self._stream.untaken(self._launcher.endpoint)
            text = f"{why}; the rest is in {self.spool.directory}: `asynclog sync` delivers it"
            self._notices.add("left", text)
        elif self._launcher is not None and not self._stream.finished and self._succeeded:
            text = (
                "everything is journaled, but not all of it was in the files when finish() gave up (other ranks may be"
            )
            self._notices.add("late", f"{text} behind): the daemon completes them")
        self._leave_media()
        self.spool.leave_counts(bytes(encode(Finish(self._ring.issued, self._ring.dropped))[0]))
        self._file.remove()

    def _leave_media(self) -> None:
        """What the daemon still needs of the outbox stays with those records that name it."""
        spooled = self._launcher is None or bool(self._stream.flow.queue)
        try:
            self._rows.media.bodies.leave(needed=not self._stream.finished, spooled=spooled)
        except OSError as error:
            self._notices.add("media", f"media could not be spooled ({error.strerror}); they stay in the outbox")

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
        if self._launcher is not None:
            self._launcher.close()
        self.spool.close()
        self._rows.close(self._rows.closed or "after_finish")
        if self._rows.lock.acquire(timeout=LOCK_PATIENCE_S):  # a thread that never gives it back keeps the memory
            try:
                self._ring.close()
                self._rows.media.bodies.close()
            finally:
                self._rows.lock.release()
        self.barriers.give_up(reached=self._stream.finished)
        self.questions.give_up("the run ended before its step was closed")
        self._file.unlock()
        self.bell.close()

    def ledger(self) -> Ledger:
        """What became of the values; to be asked after `done`."""
        told = self._stream.ledger
        if told is not None:
            return from_daemon(told.complete, told.ledger)
        everything = self._launcher is not None and not self._stream.flow.queue
        return of_rank(self._ring.issued, self._ring.dropped, "" if everything else str(self.spool.directory))
