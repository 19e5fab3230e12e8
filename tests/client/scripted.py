"""A daemon that does what a test says."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import zmq

from asynclog_proto import frames, outboxfile, places, records
from asynclog_proto.errors import ProtocolError
from asynclog_proto.flow import ReceiveFlow
from asynclog_proto.frames import (
    Ack,
    Ask,
    Batch,
    Finish,
    Flush,
    Flushed,
    Heartbeat,
    Hello,
    Ledger,
    Message,
    Refused,
    Reset,
    Value,
    Welcome,
)
from asynclog_proto.media import Media

CREDIT = 1 << 20


class ScriptedDaemon:
    """`journal` holds each stream's records by incarnation, and outlives `kill` and `start`."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.journal: dict[str, list[bytes]] = defaultdict(list)
        self.hellos: list[Hello] = []
        self.heartbeats: list[Heartbeat] = []
        self.finishes: list[Finish] = []
        self.flushes: list[Flush] = []
        self.holds_flushes = False
        self.asks: list[Ask] = []
        self.answers: Callable[[Ask], Value | None] = lambda ask: Value(ask.number, float(ask.step or 0))
        self.refuses: str | None = None
        self.holds_up = ""
        self.holds_acks = False
        self.completes = True
        self.frees = 0
        """the position of the outbox that acks tell"""
        self.step: int | None = None
        """the highest of the run before the launches that it welcomes"""
        self.lost = 0
        self.before_batch: Callable[[Batch], bool] = lambda _: True
        """may say that a batch is to be overlooked, as if the network had lost it"""
        self._flows: dict[str, ReceiveFlow] = {}
        self._peers: dict[bytes, str] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Bind and serve; the flows begin at what the journal holds."""
        self._flows.clear()
        self._peers.clear()
        self._stop.clear()
        bound = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(bound,), daemon=True)
        self._thread.start()
        assert bound.wait(10)

    def kill(self) -> None:
        """Close the socket at once; what was not journaled is forgotten. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def records(self) -> list[records.Record]:
        """The records of the only stream, decoded."""
        assert len(self.journal) <= 1
        return [records.decode(data) for stream in self.journal.values() for data in stream]

    def media(self) -> list[Media]:
        """The media records of the only stream."""
        return [record for record in self.records() if isinstance(record, Media)]

    def body(self, record: Media) -> bytes:
        """The bytes that a record of the last stream names, read as a daemon does."""
        place = record.body
        if isinstance(place, bytes):
            return place
        hello = self.hellos[-1]
        if place.file:
            data = places.media_path(Path(hello.spool), place.file).read_bytes()
            return data[place.offset : place.offset + place.size]
        path = Path(hello.outbox)
        data = (path if path.exists() else places.spooled_outbox_path(Path(hello.spool))).read_bytes()
        start = outboxfile.at(place, outboxfile.capacity_of(data))
        return data[start : start + place.size]

    def points(self) -> list[tuple[int, str, float]]:
        """(step, name, value) of the only stream, in order."""
        found = []
        layouts: dict[int, tuple[str, ...]] = {}
        for record in self.records():
            if isinstance(record, records.Layout):
                layouts[record.layout] = record.names
            elif isinstance(record, records.Row):
                names = layouts[record.layout]
                found += [(record.step, name, value) for name, value in zip(names, record.values, strict=True)]
        return found

    def _serve(self, bound: threading.Event) -> None:
        context = zmq.Context()
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        router.bind(self.endpoint)
        bound.set()
        while not self._stop.is_set():
            if router.poll(5):
                identity, *parts = router.recv_multipart()
                for answer in self._answers(identity, *frames.decode(parts)):
                    router.send_multipart([identity, *frames.encode(answer)])
        router.close()
        context.term()

    def _answers(self, peer: bytes, message: Message, payload: memoryview) -> list[Message]:
        if isinstance(message, Hello):
            return [self._hello(peer, message)]
        incarnation = self._peers.get(peer)
        if incarnation is None:
            return [Reset("unknown")]
        if isinstance(message, Batch):
            return self._batch(incarnation, message, payload)
        if isinstance(message, Heartbeat):
            self.heartbeats.append(message)
        elif isinstance(message, (Flush, Ask)):
            assert message.next_seq <= self._flows[incarnation].committed
            answer = self._flush(message) if isinstance(message, Flush) else self._ask(message)
            return [] if answer is None else [answer]
        elif isinstance(message, Finish):
            self.finishes.append(message)
            dropped = sum(message.dropped.values())
            journaled = message.issued - dropped
            counts = {"issued": message.issued, "journaled": journaled, "in_transit": 0, "dropped": message.dropped}
            csv = {"delivered": journaled, "limited": 0, "dead": 0, "pending": 0}
            return [Ledger(complete=self.completes, ledger={**counts, "backends": {"csv": csv}})]
        return []

    def _flush(self, flush: Flush) -> Flushed | None:
        self.flushes.append(flush)
        return None if self.holds_flushes else Flushed(flush.next_seq)

    def _ask(self, ask: Ask) -> Value | None:
        self.asks.append(ask)
        return self.answers(ask)

    def _hello(self, peer: bytes, hello: Hello) -> Message:
        self.hellos.append(hello)
        if self.refuses is not None:
            return Refused(self.refuses)
        if self.holds_up:
            return Reset("not now", self.holds_up)
        self._peers[peer] = hello.incarnation
        done = len(self.journal[hello.incarnation])
        flow = self._flows.setdefault(hello.incarnation, ReceiveFlow(next_seq=done, committed=done))
        self.lost += flow.hello(hello.first_seq)
        return Welcome(flow.committed, CREDIT, step=self.step)

    def _batch(self, incarnation: str, batch: Batch, payload: memoryview) -> list[Message]:
        if not self.before_batch(batch):
            return []
        flow = self._flows[incarnation]
        receipt = flow.batch(batch.first_seq, batch.count)
        if receipt.gap:
            return [Reset("a gap")]
        if receipt.take:
            spans = list(records.iterate(payload))
            if len(spans) != batch.count:
                raise ProtocolError(f"{len(spans)} records where {batch.count} were told")
            self.journal[incarnation] += [bytes(payload[start:end]) for start, end in spans[receipt.skip :]]
            flow.commit(batch.first_seq + batch.count)
        return [] if self.holds_acks else [Ack(flow.committed, CREDIT, self.frees)]
