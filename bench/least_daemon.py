"""The least that a logger with a daemon does, in Python: encode, hand over each 100 ms, write two files, ack.

As a contender: `log()` encodes with msgpack, a thread sends what there is through ZeroMQ, and this module as a script
(argv: DIRECTORY) writes it as it came into a journal and into a delivered file. Nothing is checked, reduced, converted
or sent again: what it costs is the floor of asynclog's threads together at the same interval.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from contender import Contender, Scalars

FLUSH_S = 0.1


class LeastDaemon(Contender):
    """Its two ends of a socket pair, and the thread between them."""

    label = "msgpack, ZeroMQ, two files"

    def setup(self, directory: Path) -> None:
        import msgpack

        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack
        self._rows: list[bytes] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.bind(f"ipc://{directory / 's'}")
        self._process = subprocess.Popen([sys.executable, __file__, str(directory)])
        self._sending, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._flush_each_interval, daemon=True)
        self._thread.start()
        self.log({"warm": 0.0}, 0)
        self.drain_until_durable()

    def log(self, row: Scalars, step: int) -> None:
        self._rows.append(self._pack((step, row)))

    def drain_until_durable(self) -> None:
        self._flush()

    def close(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self._flush()
            self._socket.send(b"")
            self._process.wait(20)
            self._context.destroy()

    def _flush_each_interval(self) -> None:
        while not self._ended.wait(FLUSH_S):
            self._flush()

    def _flush(self) -> None:
        with self._sending:
            rows, self._rows = self._rows, []
            if rows:
                self._socket.send(b"".join(rows))
                self._socket.recv()


def main() -> None:
    directory = Path(sys.argv[1])
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.connect(f"ipc://{directory / 's'}")
        with (directory / "journal").open("wb", buffering=0) as journal, (directory / "rows").open("wb", 0) as rows:
            while received := socket.recv():
                journal.write(received)
                rows.write(received)
                socket.send(b"ack")


if __name__ == "__main__":
    main()
