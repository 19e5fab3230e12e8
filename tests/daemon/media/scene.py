"""A pipeline with a JSONL file, ranks that speak to it, and their outboxes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from asynclog_proto import outboxfile, places, records
from asynclog_proto.frames import Ack, Finish, Flush, Hello, Message
from asynclog_proto.media import Media, Place, Section
from asynclogd.config import DaemonSettings
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline
from asynclogd.points import Media as MediaItem
from tests.daemon.media.test_workers import HOSTILE

SETTINGS = DaemonSettings(commit_interval=0.0, flush_interval=0.001, join_deadline=600.0, step_deadline=600.0)
CAPACITY = 1 << 20


def text(said: str | Place, step: int = 0, name: str = "note") -> Media:
    """A text; a Place is one whose body lies elsewhere."""
    body = said if isinstance(said, Place) else said.encode()
    size = said.size if isinstance(said, Place) else len(body)  # type: ignore[arg-type]  # bytes then
    return Media(name, step, 100.0 + step, "text", (Section("text", "text", (size,)),), {}, body)


def file(path: Path | str, step: int = 0, body: bytes | None = None) -> Media:
    """A file told by its path, and by its bytes where there are any."""
    sections = () if body is None else (Section("file", "bytes", (len(body),)),)
    return Media("weights", step, 100.0 + step, "file", sections, {"path": str(path), "artifact": "w"}, body or b"")


class Scene:
    """One life of a daemon. `told` is what ranks were told, in order."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self.path, self.workers = path, workers
        self.told: list[tuple[str, Message]] = []
        self.seqs: dict[str, int] = {}
        self.pipeline = Pipeline(
            path, SETTINGS, lambda peer, message: self.told.append((peer.decode(), message)), workers
        )

    def outbox(self, rank: int) -> Path:
        return self.path / f"r{rank}.outbox"

    def spool(self, rank: int) -> Path:
        return self.path / "spool" / f"{rank}-r{rank}"

    def join(self, rank: int = 0, world: int = 1, *, afar: bool = False) -> None:
        """Rank `rank` says hello, as incarnation r<rank>."""
        name = f"r{rank}"
        hello = Hello(
            "p", "run", "/tmp", rank, world, name, "L", 0, 1, "host",
            spool=str(self.spool(rank)), outbox=str(self.outbox(rank)),
        )  # fmt: skip
        session = self.pipeline.hello(hello, name.encode(), afar=afar)
        self.seqs[name] = session.flow.next_seq

    def lay(self, rank: int, offset: int, body: bytes) -> Place:
        """Put a body into the rank's outbox, as its client does."""
        path = self.outbox(rank)
        if not path.exists():
            path.write_bytes(outboxfile.header(CAPACITY) + bytes(CAPACITY))
        place = Place(0, offset, len(body))
        with path.open("r+b") as file:
            file.seek(outboxfile.at(place, CAPACITY))
            file.write(body)
        return place

    def spill(self, rank: int, number: int, offset: int, body: bytes) -> Place:
        """Put a body into a file of the rank's spool."""
        path = places.media_path(self.spool(rank), number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(offset)
            file.write(body)
        return Place(number, offset, len(body))

    def say(self, rank: int, *said: records.Record) -> None:
        """Send a batch."""
        name = f"r{rank}"
        session = self.pipeline.sessions[name]
        self.pipeline.batch(session, self.seqs[name], len(said), b"".join(map(records.encode, said)))
        self.seqs[name] += len(said)

    def log(self, rank: int, step: int, value: float = 1.0) -> None:
        self.say(rank, records.Layout(0, ("loss",)), records.Row(0, step, 0.0, 1.0, (value,)))

    def end(self, rank: int, issued: int) -> None:
        """END, and the wait for the ledger."""
        self.say(rank, records.End("success"))
        self.pipeline.finish(self.pipeline.sessions[f"r{rank}"], Finish(issued, {}))

    def flush(self, rank: int, step: int) -> None:
        self.pipeline.flush(self.pipeline.sessions[f"r{rank}"], Flush(self.seqs[f"r{rank}"], step))

    async def settle(self) -> None:
        await self.pipeline._commits.settle()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)

    async def encoded(self) -> None:
        """Wait until nothing is pending."""
        await self.settle()
        await self.until(lambda: not self.pipeline.outcome.media.pending and self.pipeline.media.lane.idle)

    def answers(self, rank: int, kind: type) -> list[Any]:
        return [message for peer, message in self.told if peer == f"r{rank}" and isinstance(message, kind)]

    def freed(self, rank: int) -> int:
        """The outbox position of the rank's last ack."""
        acks: list[Ack] = self.answers(rank, Ack)
        return acks[-1].media if acks else 0

    async def items(self) -> list[MediaItem]:
        items = await self.pipeline._commits.in_thread(lambda: self.pipeline._store.items(0, 1 << 30))
        return [item for _, item in items if isinstance(item, MediaItem)]

    async def texts(self) -> list[str]:
        """The stored texts, in the order of the items."""
        return [self.pipeline.media.store.read(item.blob).decode() for item in await self.items()]

    async def letters(self) -> list[str]:
        letters = await self.pipeline._commits.in_thread(self.pipeline._store.journal.dead_letters)
        return [letter.reason for letter in letters if letter.backend == "media"]

    def lines(self) -> list[dict[str, Any]]:
        """What the JSONL backend has written."""
        path = self.path / "jsonl" / "points.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


Act = Callable[[Scene], Coroutine[Any, Any, None]]


def play(path: Path, *acts: Act, seconds: float = 5.0) -> None:
    """Each act with a daemon of its own over the same files, which then goes without another word."""
    path.mkdir(parents=True, exist_ok=True)

    async def main() -> None:
        for act in acts:
            workers = Workers(2, seconds, 1 << 30, HOSTILE)
            scene = Scene(path, workers)
            await scene.pipeline.open()
            scene.pipeline.add_backend("jsonl", {}, 1)
            try:
                await act(scene)
            finally:
                scene.pipeline.fanout.stop(10, drain=False)
                await scene.pipeline._asks.close()
                await scene.pipeline.media.lane.close()
                await scene.pipeline._commits.close()
                workers.close()

    asyncio.run(asyncio.wait_for(main(), 90))
