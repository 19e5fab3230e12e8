"""One run as the training process sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asynclog.asking import reduced
from asynclog.calls import Calls
from asynclog.flatten import encode_all, flatten
from asynclog.flushing import flush
from asynclog.ledger import Ledger
from asynclog.medialog import MediaLog
from asynclog.notices import Notices
from asynclog.process import INTERRUPTED_TIMEOUT_S, RUNS, status_of
from asynclog.reduce import check_reductions, definition
from asynclog.rows import Rows
from asynclog_proto.frozen import frozen
from asynclog_proto.records import STATUSES, Params, Rewind, Summary, encode

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

    from asynclog.sender import Sender

_GRACE_S = 1.0


@frozen
class Stats:
    """Counters of this rank. Values are counted by `issued` and `dropped` (by cause), sizes are in bytes. What `log()`
    costs is in s, of those of the last 512 calls that were timed; None before the first.
    """

    issued: int
    dropped: Mapping[str, int]
    step: int
    backward_steps: int
    waits: int
    ring_used: int
    ring_capacity: int
    spool_bytes: int
    media_bytes: int
    device_pending: int
    log_p50_s: float | None
    log_p99_s: float | None


class Run(MediaLog):
    """Made by `asynclog.init`. Safe to use from any thread; inert in a forked child.

    `project`, `name`, `dir` (of this run), `rank`, `world_size` and `mode` say what it is; `is_forked`, whether this
    process is a forked child of the one that began the run, which takes nothing here.
    """

    def __init__(
        self,
        *,
        project: str,
        name: str,
        directory: Path,
        rank: int,
        world_size: int,
        mode: str,
        strict: bool,
        rows: Rows,
        notices: Notices,
        sender: Sender | None,
    ) -> None:
        self.project = project
        self.name = name
        self.dir = directory
        self.rank = rank
        self.world_size = world_size
        self.mode = mode
        self.is_forked = False
        self._rows = rows
        self._notices = notices
        self._calls = Calls(rows, notices, strict=strict)
        rows.writer.slow = self._calls.take
        if type(self).log is Run.log:
            self.log = rows.writer.log  # type: ignore[method-assign]  # the bare call: a frame less
        self._sender = sender
        self._ledger: Ledger | None = None

    def log(
        self,
        metrics: Mapping[str, Any],
        step: int | None = None,
        *,
        reduce: Any = None,
        weight: float | None = None,
    ) -> None:
        """Log numbers by name, in microseconds; nested mappings are flattened with `/`.

        Values are float, int, bool, NumPy scalars and tensors or arrays of one element, kept as float64; those on a
        GPU are read back later, without a synchronization. A value may also be one of asynclog.media: an Image, an
        Audio, a Histogram and so on. `step` defaults to one more than the last. `reduce`, one
        or several of asynclog_proto.reductions.REDUCTIONS, says how these names are reduced over ranks; `weight`,
        above 0, is this rank's in a mean. Never raises unless the run is strict: what can't be logged is told once
        as an AsynclogWarning and counted in the ledger.
        """
        self._rows.writer.log(metrics, step, reduce=reduce, weight=weight)

    def define(
        self, pattern: str, *, reduce: Any, per_rank: bool = False, lane: str = "", own_steps: bool = False
    ) -> None:
        """Say how the names that match `pattern` (as in fnmatch) are reduced, the first under the plain name.

        With `per_rank` each rank's own series is kept too. Calls of `log()` with one of the names are in `lane`: what
        they log is reduced apart from what other calls do. With `own_steps` their steps are not the run's, as those of
        an evaluation that counts its own batches: such a step waits for every rank, may come again, and supersedes
        nothing in a run that goes on. Raises ValueError for anything that is no reduction.
        """
        record = definition(pattern, check_reductions(reduce), per_rank=per_rank, lane=lane, own_steps=own_steps)
        self._calls.append([record], "define()")

    def params(self, values: Any) -> None:
        """Record hyperparameters: a mapping, dataclass or Namespace, nested or not. Raises TypeError otherwise."""
        self._append_flat(Params, values, "params()")

    def summary(self, values: Any = None, /, **more: Any) -> None:
        """Record final values of the run, as a mapping or by keyword. Raises TypeError otherwise."""
        self._append_flat(Summary, {**({} if values is None else values), **more}, "summary()")

    def finish(self, status: str = "success", timeout: float = 30.0) -> Ledger:
        """End the run and wait until all is in the local file backends, at most `timeout` seconds.

        `status` is one of success, failed, interrupted, killed. What the daemon did not take by then is in the spool,
        and a warning says so. A second call returns the same ledger.
        """
        if status not in STATUSES:
            raise ValueError(f"status is one of {', '.join(STATUSES)}, not {status!r}")
        if self._ledger is not None:
            return self._ledger.with_late_drops(self._rows.ring.dropped)
        self.begin_finish(status, timeout)
        sender = self._sender
        if sender is None or self.is_forked:
            return Ledger(complete=sender is None, issued=0, journaled=0, pending=0)
        if not sender.done.wait(timeout + _GRACE_S):
            self._notices.add("late", "finish() gives up: the sender is stuck; what it holds stays in the ring")
        ledger = sender.ledger()
        if sender.done.is_set():
            self._ledger = ledger
            RUNS.remove(self)
        self._notices.say()
        return ledger

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything that was logged so far is in the local file backends; the run goes on.

        True once it is; False, with a warning that says what is missing, after `timeout` seconds. The steps logged so
        far close as if this rank had gone past them, so call it on every rank, equally often, or on one alone, which
        then waits for the others to come as far. Offline: everything is in the spool file. Disabled or finished: True.
        """
        self._calls.take_held()
        return flush(self._rows, self._sender, self._notices, timeout)

    def reduced(self, name: str, step: int | None = None) -> Future[float]:
        """The value of a metric's reduced series at `step`, when the step is closed for it: the same for all ranks.

        `step` None is the last one at which this process logged `name`. A future, that of the first value that the
        step closed with; later revisions do not change it. It fails with NoValueError when no rank logged the name
        there, when the run ends, is offline, disabled, refused or was started again before, and when 1000 are open.
        The step closes when every rank has logged the name there or gone on: a rank that does neither calls `flush`.
        """
        return reduced(self._rows, self._sender, name, step)

    @property
    def stats(self) -> Stats:
        """This rank's counters, now."""
        rows, ring = self._rows, self._rows.ring
        middle, high = (None, None) if self._sender is None else self._sender.log_times.quantiles()
        return Stats(
            issued=ring.issued,
            dropped=ring.dropped,
            step=rows.writer.step,
            backward_steps=rows.writer.backward,
            waits=ring.waits,
            ring_used=ring.used,
            ring_capacity=ring.capacity,
            spool_bytes=0 if self._sender is None else self._sender.spool.size,
            media_bytes=rows.media.bodies.used + rows.media.bodies.spool.size,
            device_pending=len(rows.devices),
            log_p50_s=middle,
            log_p99_s=high,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
                self.finish("success")
            elif issubclass(kind, KeyboardInterrupt):
                self.finish(status_of(kind), INTERRUPTED_TIMEOUT_S)
            else:
                self.finish("failed")
        except (KeyboardInterrupt, SystemExit):
            if kind is not None:  # the second one: the process ends at once, as it does without `with`
                RUNS.wait_no_more(self)
            raise

    def __repr__(self) -> str:
        return f"<asynclog run {self.project}/{self.name}, rank {self.rank} of {self.world_size}, {self.mode}>"

    # ---- for asynclog itself ------------------------------------------------------------------------------------

    def log_at(self, metrics: Mapping[str, Any], step: int | None, time: float) -> None:
        """`log` of values that are of another time than this moment (s since the epoch)."""
        self._calls.take(metrics, step, None, None, time)

    def rewind(self, step: int) -> None:
        """Go back to `step`: the points so far of it and later are superseded in the files by those that follow."""
        self._calls.append([encode(Rewind(step))], "rewind()")

    def expect_steps_to_go_back(self) -> None:
        """Don't tell of steps that go back: whoever logs counts in several ways."""
        self._notices.mute(("backward", ""))

    def begin_finish(self, status: str, timeout: float, *, quietly: bool = False) -> None:
        """Close the run and let its sender end it, without waiting; `quietly` when the process ends with it."""
        if quietly:
            self._notices.mute(("after_finish", ""))
        with self._rows.lock:
            self._calls.take_held()
            if self._rows.closed is None:
                self._rows.close("after_finish")
        if self._sender is not None and not self.is_forked:
            self._sender.finish(status, timeout)

    def after_fork(self) -> None:
        """In a forked child: nothing of the parent's is touched from here on."""
        self.is_forked = True
        self._notices = Notices()
        self._calls.after_fork(self._notices)
        self._rows.after_fork(self._notices)

    def _append_flat(self, kind: type[Params | Summary], values: Any, what: str) -> None:
        flat = flatten(values, lambda text: self._notices.add(text, text))
        self._calls.append(encode_all(kind, flat, self._rows.ring.capacity // 4), what)
