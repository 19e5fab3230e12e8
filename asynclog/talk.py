"""A round of messages with the daemon: what it has said, what is due, and the batches that its credit allows."""

from __future__ import annotations

import threading

from asynclog.backlog import Backlog
from asynclog.launcher import Launcher
from asynclog.link import Link
from asynclog.logtimes import LogTimes
from asynclog.notices import Notices
from asynclog.rows import Rows
from asynclog.stream import Stream
from asynclog_proto.frames import Batch


class Talk:
    """Stands between the stream, which decides, and the link, which carries; sets `welcomed` when the daemon has
    answered, be it that it refuses.
    """

    def __init__(
        self,
        stream: Stream,
        backlog: Backlog,
        rows: Rows,
        log_times: LogTimes,
        notices: Notices,
        welcomed: threading.Event,
    ) -> None:
        self._stream = stream
        self._backlog = backlog
        self._rows = rows
        self._log_times = log_times
        self._notices = notices
        self._welcomed = welcomed

    def round(self, link: Link, launcher: Launcher, now: float) -> None:
        """Hear what there is, say what is due at `now` (s, time.monotonic)."""
        stream = self._stream
        for answer in link.receive():
            self._backlog.forget(stream.receive(answer, now))
        self._rows.media.bodies.free(stream.media)
        if stream.flow.open or stream.refused is not None:
            self._welcomed.set()
        if stream.notice:
            self._notices.add(stream.notice, stream.notice)
        if stream.refused is not None:
            self._notices.add("refused", f"the daemon refuses this run: {stream.refused}. Records go to the spool")
            stream.give_up()
            return
        rows = self._rows
        while (message := stream.due(now, rows.writer.highest, rows.ring, self._log_times)) is not None:
            if not link.send(message):
                stream.lost(now)
                break
            stream.sent(message, now)
        if stream.flow.open:
            launcher.connected()
            self._send_batches(link, now)
        else:
            launcher.ensure(now)

    def _send_batches(self, link: Link, now: float) -> None:
        flow = self._stream.flow
        while (batch := flow.take()) is not None:
            try:
                payload = self._backlog.payload(batch)
            except OSError as error:
                self._notices.add("spool", f"records of the spool are lost: {error}")
                self._skip(now)
                return
            if not link.send(Batch(batch.first_seq, batch.count), payload):
                self._stream.lost(now)
                return
            self._stream.sent_batch(now)

    def _skip(self, now: float) -> None:
        """The batch that was taken last can't be read: pass it over, once it is the oldest."""
        flow = self._stream.flow
        if flow.in_flight == 1:
            self._backlog.forget(flow.ack(flow.queue[0].next_seq, flow.credit))
        self._stream.lost(now)
