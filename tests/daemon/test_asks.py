"""Questions over a real store: when they are answered, and that an answer is the same for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import records
from asynclog_proto.frames import Ask, Hello, Message, Value
from asynclogd.config import DaemonSettings
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline

SETTINGS = DaemonSettings(step_deadline=600.0, join_deadline=600.0, commit_interval=0.0)


class Scene:
    """A pipeline without backends, and ranks that speak to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: dict[tuple[bytes, int], Value] = {}
        self.seqs: dict[bytes, int] = {}
        self.pipeline = Pipeline(path, SETTINGS, self._send, Workers())

    def _send(self, peer: bytes, message: Message) -> None:
        if isinstance(message, Value):
            assert (peer, message.number) not in self.told, "answered twice"
            self.told[peer, message.number] = message

    def join(self, rank: int, world: int = 2, launch: str = "L") -> None:
        hello = Hello("p", "run", "/tmp", rank, world, f"{launch}{rank}", launch, 0, 1, "host")
        self.pipeline.hello(hello, f"{launch}{rank}".encode())

    def say(self, rank: int, *said: records.Record, launch: str = "L") -> int:
        """The number after what was said."""
        peer = f"{launch}{rank}".encode()
        first = self.seqs.get(peer, 0)
        session = self.pipeline.sessions[peer.decode()]
        self.pipeline.batch(session, first, len(said), b"".join(map(records.encode, said)))
        self.seqs[peer] = first + len(said)
        return self.seqs[peer]

    def log(self, rank: int, step: int, value: float, name: str = "a", launch: str = "L") -> int:
        number = "abc".index(name)
        row = records.Row(number, step, 0.0, 1.0, (value,))
        return self.say(rank, records.Layout(number, (name,)), row, launch=launch)

    def ask(self, rank: int, number: int, name: str, step: int | None, launch: str = "L") -> None:
        peer = f"{launch}{rank}"
        session = self.pipeline.sessions[peer]
        self.pipeline.ask(session, Ask(number, self.seqs.get(peer.encode(), 0), name, step))

    def value(self, rank: int, number: int, launch: str = "L") -> Value | None:
        return self.told.get((f"{launch}{rank}".encode(), number))

    async def answer(self, rank: int, number: int, launch: str = "L") -> Value:
        while (told := self.value(rank, number, launch)) is None:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)
        return told

    async def settle(self) -> None:
        await self.pipeline._commits.settle()


def play(path: Path, *acts: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    """Each act with a pipeline of its own over the same journal, closed as a killed daemon leaves it: mid-work."""

    path.mkdir(parents=True)

    async def main() -> None:
        for act in acts:
            scene = Scene(path)
            await scene.pipeline.open()
            await act(scene)
            await scene.pipeline._asks.close()
            await scene.pipeline._commits.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_value_is_told_when_its_step_closes_and_not_before(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join(0)
        scene.join(1)
        scene.log(0, 5, 1.0)
        scene.ask(0, 0, "a", 5)
        scene.ask(0, 1, "a", None)
        await scene.settle()
        assert scene.told == {}
        scene.log(1, 5, 2.0)
        assert (await scene.answer(0, 0)).value == (await scene.answer(0, 1)).value == 1.5
        assert scene.pipeline._asks.asked() == ()

    play(tmp_path / "p" / "run", act)


def test_who_waits_for_a_step_that_has_not_come_costs_no_commits(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join(0, 1)
        scene.log(0, 5, 1.0)
        scene.ask(0, 0, "a", 9)
        await scene.settle()
        for _ in range(100):
            await asyncio.sleep(0.001)
        commits = scene.pipeline._asks._commits
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert scene.pipeline._asks._commits == commits
        scene.log(0, 9, 2.0)
        assert (await scene.answer(0, 0)).value == 2.0

    play(tmp_path / "p" / "run", act)


def test_that_there_is_no_value_stays_so_whatever_comes_later_and_whoever_dies(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        scene.join(0)
        scene.join(1)
        for rank in range(2):
            scene.log(rank, 5, 1.0)
            scene.log(rank, 6, 1.0)
        scene.ask(0, 0, "b", 5)
        assert "no rank logged 'b' at step 5" in (await scene.answer(0, 0)).reason
        scene.log(1, 5, 3.0, "b")
        scene.ask(1, 0, "b", 5)
        assert "no rank logged 'b' at step 5" in (await scene.answer(1, 0)).reason

    async def second(scene: Scene) -> None:
        scene.join(1)
        scene.ask(1, 1, "b", 5)
        assert "no rank logged 'b' at step 5" in (await scene.answer(1, 1)).reason
        scene.ask(1, 2, "b", None)
        assert (await scene.answer(1, 2)).value is None

    play(tmp_path / "p" / "run", first, second)


def test_a_generation_has_values_of_its_own_and_the_former_one_is_told_so(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        for launch, value in (("L", 1.0), ("M", 4.0)):
            scene.join(0, 2, launch)
            scene.join(1, 2, launch)
            if launch == "M":
                scene.ask(0, 1, "a", 5)
                assert "started again" in (await scene.answer(0, 1)).reason
            for rank in range(2):
                scene.log(rank, 5, value, launch=launch)
            scene.ask(0, 0, "a", 5, launch)
            assert (await scene.answer(0, 0, launch)).value == value

    async def second(scene: Scene) -> None:
        scene.join(1, 2, "M")
        scene.ask(1, 0, "a", 5, "M")
        assert (await scene.answer(1, 0, "M")).value == 4.0

    play(tmp_path / "p" / "run", first, second)


def test_all_ranks_are_told_the_same_by_any_daemon_whatever_is_revised(tmp_path: Path) -> None:
    dice = random.Random(7)
    told: dict[int, set[float | None]] = {}

    def act(life: int) -> Callable[[Scene], Coroutine[Any, Any, None]]:
        async def play_life(scene: Scene) -> None:
            for rank in range(3):
                scene.join(rank, 3)
                session = scene.pipeline.sessions[f"L{rank}"]
                scene.seqs[f"L{rank}".encode()] = session.flow.next_seq
            for step in range(life * 10, life * 10 + 10):
                for rank in range(3):
                    scene.log(rank, step, dice.random())
                if step:
                    scene.log(dice.randrange(3), dice.randrange(step), 100.0)
            number = 0
            for step in dice.sample(range(life * 10 + 10), 8):
                for rank in range(3):
                    scene.ask(rank, number, "a", step)
                    told.setdefault(step, set()).add((await scene.answer(rank, number)).value)
                    number += 1

        return play_life

    play(tmp_path / "p" / "run", *map(act, range(4)))
    assert all(len(values) == 1 and None not in values for values in told.values())
    assert len(told) > 15


def test_the_questions_of_the_dead_are_forgotten_and_those_of_the_living_go_on(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join(0)
        scene.join(1)
        scene.log(0, 5, 1.0)
        scene.ask(0, 0, "a", 5)
        scene.ask(1, 0, "a", 99)
        await scene.pipeline.leave([scene.pipeline.sessions["L1"]])
        assert (await scene.answer(0, 0)).value == 1.0
        assert scene.pipeline._asks.asked() == ()

    play(tmp_path / "p" / "run", act)


@pytest.mark.cap("questions")
def test_open_questions_of_a_stream_are_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("asynclogd.asks.MAX_ASKS", 3)

    async def act(scene: Scene) -> None:
        scene.join(0)
        scene.join(1)
        for number in range(4):
            scene.ask(0, number, "a", number)
        scene.ask(0, 0, "a", 0)  # asked again: no further one
        scene.ask(1, 0, "a", 0)
        await scene.settle()
        assert {key: value.reason for key, value in scene.told.items()} == {
            (b"L0", 3): "3 values are asked for already"
        }

    play(tmp_path / "p" / "run", act)


def test_more_decisions_than_are_kept_are_all_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("asynclogd.asks.MOST_DECIDED", 5)

    async def act(scene: Scene) -> None:
        scene.join(0, 1)
        scene.log(0, 100, 1.0)
        for number in range(20):
            scene.ask(0, number, "b", number)
        for number in range(20):
            assert (await scene.answer(0, number)).value is None
        await scene.settle()
        assert len(scene.pipeline.facts["no_values"][1]) == 5

    play(tmp_path / "p" / "run", act)
