"""The least that a logger with a daemon does, in Python: encode, hand over at each beat, write two files, ack.

As a contender: `log()` encodes with msgpack, a thread sends what there is through ZeroMQ, and this module as a script
(argv: DIRECTORY) writes it as it came into a journal and into a delivered file. Nothing is checked, reduced, converted
or sent again: what it costs is the floor of asynclog's threads together at the same interval. As with asynclog, ranks
of a machine share the daemon and hand over at the same moments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from asynclog_proto.beats import next_beat
from contender import Contender, Scalars

FLUSH_S = 0.1
SENDER = "least-sender"
"""How the sending thread is called."""


class LeastDaemon(Contender):
    """A rank's end of the socket and the thread that sends; one of the ranks owns the daemon, and closes last."""

    label = "msgpack, ZeroMQ, two files"

    def __init__(self, interval_s: float = FLUSH_S, *, owns_daemon: bool = True) -> None:
        self._interval_s, self._owns_daemon = interval_s, owns_daemon

    def setup(self, directory: Path) -> None:
        import msgpack

        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack
        self._rows: list[bytes] = []
        self._process = subprocess.Popen([sys.executable, __file__, str(directory)]) if self._owns_daemon else None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(f"ipc://{directory / 's'}")
        self._sending, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._flush_each_interval, name=SENDER, daemon=True)
        self._thread.start()
        self.log({"warm": 0.0}, 0)
        self.drain_until_durable()

    def log(self, row: Scalars, step: int) -> None:
        self._rows.append(self._pack((step, row)))

    def drain_until_durable(self) -> None:
        with self._sending:
            rows, self._rows = self._rows, []
            if rows:
                self._socket.send(b"".join(rows))
                self.daemon_pid = int(self._socket.recv())

    def close(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self.drain_until_durable()
            if self._process is not None:
                self._socket.send(b"")
                self._process.wait(20)
            self._context.destroy()

    def _flush_each_interval(self) -> None:
        while not self._ended.wait(next_beat(now := time.monotonic(), self._interval_s) - now):
            self.drain_until_durable()


def main() -> None:
    directory, ack = Path(sys.argv[1]), b"%d" % os.getpid()  # so that each rank may read the daemon's clock
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(f"ipc://{directory / 's'}")
        with (directory / "journal").open("wb", buffering=0) as journal, (directory / "rows").open("wb", 0) as rows:
            while (message := socket.recv_multipart())[-1]:
                rank, received = message
                journal.write(received)
                rows.write(received)
                socket.send_multipart([rank, ack])


if __name__ == "__main__":
    main()
