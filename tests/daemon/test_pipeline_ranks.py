"""A rank whose next process comes while the former one is still heard, or has left something: over a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asynclog_proto import places, records
from asynclog_proto.frames import Finish, Hello, Ledger, Message
from asynclogd.config import DaemonSettings
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline
from asynclogd.points import Item, Points, RunEnd
from asynclogd.recovery import LeftBatch

SETTINGS = DaemonSettings(step_deadline=600.0, join_deadline=600.0, commit_interval=0.0)


class Scene:
    """Two ranks of one launch: `former` and then `next` are rank 0, `other` is rank 1."""

    def __init__(self, run_dir: Path) -> None:
        self.told: list[tuple[bytes, Message]] = []
        self.pipeline = Pipeline(run_dir, SETTINGS, lambda peer, message: self.told.append((peer, message)), Workers())
        self._seqs: dict[str, int] = {}

    def join(self, name: str, began: float | None = None, *, lives: bool = False) -> None:
        """Says hello; one that is dead already, or was overtaken, `began` then."""
        peer = name.encode() if began is None or lives else None
        self.pipeline.hello(hello(name), peer, began=began)

    async def join_at_last(self, name: str) -> None:
        """Says hello when others of its rank have, which noted after it that they began."""
        noted = "".join(f"{each}\n" for each in ("former", "next"))
        places.begun_path(self.pipeline.run_dir).write_text(noted)
        began = await self.pipeline.began(hello(name))
        assert began is not None
        self.join(name, began, lives=True)

    def batch(self, name: str, *said: records.Record) -> LeftBatch:
        first = self._seqs.get(name, 0)
        self._seqs[name] = first + len(said)
        return LeftBatch(first, len(said), b"".join(map(records.encode, said)))

    def say(self, name: str, *said: records.Record) -> None:
        batch = self.batch(name, *said)
        self.pipeline.batch(self.pipeline.sessions[name], batch.first_seq, batch.count, batch.payload)

    def log(self, name: str, *steps: int) -> None:
        self.say(name, *rows(*steps))

    async def bury(self, name: str, *left: records.Record) -> None:
        """As the estate does, with what lies in its ring."""
        sessions = [self.pipeline.sessions[name]]
        if left:
            await self.pipeline.take_left(sessions, iter([(name, self.batch(name, *left))]))
        await self.pipeline.leave(sessions)

    async def items(self) -> list[Item]:
        await self.pipeline._commits.settle()
        items = await self.pipeline._commits.in_thread(lambda: self.pipeline._store.items(0, 1 << 30))
        return [item for _, item in items]

    async def closed(self) -> dict[int, int]:
        """The steps that have closed, each once, with how many ranks."""
        points = [point for table in await self.items() if isinstance(table, Points) for point in table]
        assert len(points) == len({point.step for point in points})
        return {point.step: point.ranks for point in points}

    async def end(self) -> list[str]:
        """All that the run's end was told as, once the ranks that are there have ended."""
        for name in ("next", "other"):
            self.say(name, records.End("success"))
        return [item.status for item in await self.items() if isinstance(item, RunEnd)]


def hello(name: str) -> Hello:
    return Hello("p", "run", "/tmp", int(name == "other"), 2, name, "L", 0, 1, "host")


def rows(*steps: int) -> list[records.Record]:
    return [records.Layout(0, ("a",)), *(records.Row(0, step, 1.0, 1.0, (1.0,)) for step in steps)]


def play(run_dir: Path, *acts: Callable[[Scene], Awaitable[None]]) -> None:
    """Each act in a life of the daemon's own."""
    run_dir.mkdir()

    async def main() -> None:
        for act in acts:
            scene = Scene(run_dir)
            await scene.pipeline.open()
            await act(scene)
            await scene.pipeline.close(30)

    asyncio.run(asyncio.wait_for(main(), 60))


SAID = {
    "end": [records.End("failed")],
    "hold": [records.Hold(0)],
    "flushes": [records.Pass(9), records.Pass(9)],
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize("heard", ["late", "overtaken", "in what it left", "found dead"])
def test_what_a_former_process_says_of_its_rank_counts_for_the_next_one_no_more(
    heard: str, said: list[records.Record], tmp_path: Path
) -> None:
    """It was cut off, say, and its rank was started again elsewhere: what it says comes when the next one is there."""

    async def act(scene: Scene) -> None:
        for name in ("other", "next") if heard in {"found dead", "overtaken"} else ("former", "other", "next"):
            scene.join(name)
        if heard == "overtaken":
            await scene.join_at_last("former")
        if heard in {"late", "overtaken"}:
            scene.say("former", *said)
        elif heard == "in what it left":
            await scene.bury("former", *said)
        else:
            scene.join("former", began=1.0)
            await scene.bury("former", *said)
        scene.log("other", 0, 1, 2)
        scene.say("other", records.Pass(9))
        assert await scene.closed() == {}, "the next one has not given these"
        scene.log("next", 0, 1, 2)
        assert await scene.closed() == {0: 2, 1: 2, 2: 2}
        assert await scene.end() == ["success"]

    play(tmp_path / "run", act)


@pytest.mark.parametrize("daemons", [1, 2])
def test_the_death_of_a_former_process_is_not_its_ranks(daemons: int, tmp_path: Path) -> None:
    async def come(scene: Scene) -> None:
        for name in ("former", "other", "next"):
            scene.join(name)
        await scene.pipeline.journaled()

    async def goes(scene: Scene) -> None:
        await scene.bury("former")
        assert scene.pipeline.sessions["former"].stream.state == "dead"
        scene.log("other", 0, 1, 2)
        assert await scene.closed() == {}
        scene.log("next", 0, 1, 2)
        assert await scene.closed() == {0: 2, 1: 2, 2: 2}
        assert await scene.end() == ["success"]

    async def both(scene: Scene) -> None:
        await come(scene)
        await goes(scene)

    play(tmp_path / "run", *([both] if daemons == 1 else [come, goes]))


def test_a_former_process_that_lives_is_told_when_all_it_said_is_in_the_files(tmp_path: Path) -> None:
    """Two processes of a rank beside each other; the rank has ended when the later one has."""

    async def act(scene: Scene) -> None:
        for name in ("former", "other", "next"):
            scene.join(name)
        former = scene.pipeline.sessions["former"]
        scene.say("former", records.End("success"))
        scene.pipeline.finish(former, Finish(0, {}))
        while not any(  # noqa: ASYNC110 - there is no event to wait for
            peer == b"former" and isinstance(message, Ledger) for peer, message in scene.told
        ):
            await asyncio.sleep(0.001)
        assert former.stream.state == "ended"
        assert not any(isinstance(item, RunEnd) for item in await scene.items())
        assert await scene.end() == ["success"]

    play(tmp_path / "run", act)
