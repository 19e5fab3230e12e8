"""A network that repeats and reorders: between a rank and the daemon, message by message."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import zmq

from asynclog_proto import frames, places
from asynclog_proto.messages import Batch


class Repeater:
    """Passes messages on; of batches one in three twice, one in three after the one that follows, and acks twice."""

    def __init__(self, runtime: Path, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.endpoint = f"ipc://{runtime}/repeater.sock"
        self._daemon = places.endpoint(runtime)
        self._chance = random.Random(seed)
        self._context = zmq.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self._front.bind(self.endpoint)
        self._backs: dict[bytes, zmq.Socket[bytes]] = {}
        self._kept: dict[bytes, list[bytes]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End the thread and the sockets."""
        self._ended.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._front, zmq.POLLIN)
        while not self._ended.is_set():
            for socket, _ in poller.poll(20):
                if socket is self._front:
                    peer, *parts = self._front.recv_multipart()
                    poller.register(self._forth(peer, parts), zmq.POLLIN)
                else:
                    self._back(socket)

    def _forth(self, peer: bytes, parts: list[bytes]) -> zmq.Socket[bytes]:
        if peer not in self._backs:
            self._backs[peer] = self._context.socket(zmq.DEALER)
            self._backs[peer].connect(self._daemon)
        back, kept = self._backs[peer], self._kept.pop(peer, None)
        what = self._chance.choice(("late", "twice", "once")) if isinstance(frames.decode(parts)[0], Batch) else "once"
        self.done[what] += 1
        if what == "late" and kept is None:
            self._kept[peer] = parts
        else:
            back.send_multipart(parts)
            if what == "twice":
                back.send_multipart(parts)
        if kept is not None:
            back.send_multipart(kept)
        return back

    def _back(self, socket: zmq.Socket[bytes]) -> None:
        parts = socket.recv_multipart()
        peer = next(peer for peer, back in self._backs.items() if back is socket)
        for _ in range(2 if isinstance(frames.decode(parts, max_header=1 << 26)[0], frames.Ack) else 1):
            self._front.send_multipart([peer, *parts])


@contextlib.contextmanager
def repeating(runtime: Path, seed: int) -> Iterator[Repeater]:
    """One that is closed with the block."""
    repeater = Repeater(runtime, seed)
    try:
        yield repeater
    finally:
        repeater.close()
