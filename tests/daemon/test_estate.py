"""What dead ranks and daemons left is taken up as soon as it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import records
from asynclog_proto.frames import Ack, Batch, Welcome
from asynclogd import recovery, rounds, untaken
from asynclogd.hub import Hub
from asynclogd.points import Points, RunEnd
from tests.daemon.leftovers import RECORDS, Place, hello, left_ring, left_spool

END = records.encode(records.End("success"))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass is tried again in the next round."""
    monkeypatch.setattr(untaken, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(untaken, "MENDED_SECONDS", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.cap("peers")
def test_a_ring_of_a_run_too_many_is_taken_up_once_another_run_is_closed(place: Place, at_once: None) -> None:
    async def main() -> None:
        daemon = place.daemon(max_runs=1)
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        ring = left_ring(place.root / "rings" / "two.ring", hello(place.root, "two", "two"))
        await daemon.rounds.look()
        assert daemon.given_up == {ring}
        await daemon._runs.close(daemon.runs[place.root / "p" / "one"], 30)
        await place.until(daemon, lambda: not ring.exists())
        assert daemon.runs[place.root / "p" / "two"].ledger()["journaled"] == 1
        assert daemon.given_up == set()
        await daemon.close(30)

    asyncio.run(main())


def test_what_is_given_up_for_a_while_is_not_looked_at_in_each_round(place: Place) -> None:
    async def main() -> None:
        daemon = place.daemon(max_runs=1)
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        ring = left_ring(place.root / "rings" / "two.ring", hello(place.root, "two", "two"))
        await daemon.rounds.look()
        await daemon._runs.close(daemon.runs[place.root / "p" / "one"], 30)
        await daemon.rounds.look()
        assert daemon.given_up == {ring}
        await daemon.close(30)

    asyncio.run(main())


@pytest.mark.cap("peers")
def test_a_spool_of_a_stream_too_many_is_taken_up_once_another_has_ended(place: Place, at_once: None) -> None:
    async def main() -> None:
        daemon = place.daemon(max_streams=1)
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        run = daemon.runs[place.root / "p" / "one"]
        spool = left_spool(place.root, "one", "b")
        await daemon.rounds.recover([], [run.run_dir])
        assert daemon.given_up == {spool}
        end = records.encode(records.End("success"))
        await place.say(daemon, Batch(0, 1), Ack, end)
        await place.until(daemon, lambda: not spool.exists())
        assert run.ledger()["journaled"] == 1
        await daemon.close(30)

    asyncio.run(main())


@pytest.mark.cap("peers")
def test_runs_that_were_left_are_opened_as_far_as_they_may_be_and_the_others_later(place: Place, at_once: None) -> None:
    async def main() -> None:
        before = place.daemon()
        for run in ("one", "two"):
            await place.say(before, hello(place.root, run, run), Welcome)
        await before.close(30)
        daemon = place.daemon(max_runs=1)
        await daemon.rounds.recover(daemon.rounds.orphans(), daemon._runs.left())
        first, other = place.root / "p" / "one", place.root / "p" / "two"
        (opened,) = daemon.runs
        assert opened in (first, other)
        await daemon._runs.close(daemon.runs[opened], 30)
        await place.until(daemon, lambda: daemon.runs.keys() == {first, other} - {opened})
        await daemon.close(30)

    asyncio.run(main())


def test_a_ring_whose_runs_directory_could_not_be_made_is_taken_up_once_it_can(place: Place, at_once: None) -> None:
    async def main() -> None:
        daemon = place.daemon()
        in_the_way, ring = (
            place.root / "p",
            left_ring(place.root / "rings" / "two.ring", hello(place.root, "two", "two")),
        )
        in_the_way.touch()
        await daemon.rounds.look()
        assert daemon.given_up == {ring}
        in_the_way.unlink()
        await place.until(daemon, lambda: not ring.exists())
        assert daemon.runs[place.root / "p" / "two"].ledger()["journaled"] == 1
        await daemon.close(30)

    asyncio.run(main())


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Rings and spools that a disk does not let be read, as long as they are in it."""
    bad, read_ring, spool_hello = set[Path](), recovery.read_ring, recovery.spool_hello

    def checked(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def reading(path: Path) -> Any:
            if path in bad:
                raise OSError(5, "Input/output error")
            return read(path)

        return reading

    monkeypatch.setattr(recovery, "read_ring", checked(read_ring))
    monkeypatch.setattr(recovery, "spool_hello", checked(spool_hello))
    return bad


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete run is closed in the next round."""
    monkeypatch.setattr(rounds, "REST_SECONDS", 0.0)


async def begun(place: Place, daemon: Hub, failing: set[Path]) -> Path:
    """A rank has begun, and the spool of another can't be read."""
    await place.say(daemon, hello(place.root, "one", "a"), Welcome)
    spool = left_spool(place.root, "one", "b")
    failing.add(spool)
    return spool


async def looks(daemon: Hub, number: int) -> None:
    for _ in range(number):
        await daemon.rounds.look()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["ring", "spool"])
@pytest.mark.usefixtures("no_rest", "at_once")
def test_a_run_stays_open_while_what_is_left_of_it_waits_for_its_next_try(
    kind: str, place: Place, failing: set[Path]
) -> None:
    """Or nobody would come back to it: its marker goes with it, and a ring in its own directory is found by nobody."""

    async def main() -> None:
        daemon = place.daemon()
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        run = daemon.runs[place.root / "p" / "one"]
        if kind == "ring":
            left = left_ring(run.run_dir / "rings" / "b.ring", hello(place.root, "one", "b"))
        else:
            left = left_spool(place.root, "one", "b")
        failing.add(left)
        await daemon.rounds.recover(daemon.rounds.orphans(), [run.run_dir])
        await place.say(daemon, Batch(0, 1), Ack, END)
        await looks(daemon, 10)
        assert daemon.given_up == {left}
        assert run.complete
        assert run.run_dir in daemon.runs, "it is closed"
        assert daemon.rounds.waits, "a daemon without other work ends"
        failing.clear()
        await place.until(daemon, lambda: not daemon.runs)
        assert not left.exists()
        await place.until(daemon, lambda: str(run.run_dir) in daemon.closed_runs)
        assert daemon.closed_runs[str(run.run_dir)]["ledger"]["journaled"] == 1
        assert daemon.given_up == set()
        assert not daemon.rounds.waits
        await daemon.close(30)
        assert not list((place.root / "runs").iterdir())

    asyncio.run(main())


def test_a_run_that_ends_while_something_of_it_waits_is_left_to_the_next_daemon(
    place: Place, failing: set[Path]
) -> None:
    async def main() -> None:
        daemon = place.daemon()
        spool = await begun(place, daemon, failing)
        await place.say(daemon, Batch(0, 1), Ack, END)
        await daemon.rounds.recover([], [place.root / "p" / "one"])
        await daemon.close(30)
        failing.clear()
        another = place.daemon()
        await another.open()
        await place.until(another, lambda: not spool.exists())
        await another.close(30)

    asyncio.run(main())


def test_what_a_round_of_defects_has_not_tried_is_tried_in_the_next(
    place: Place, failing: set[Path], at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        daemon = place.daemon()
        spool = await begun(place, daemon, failing)
        await daemon.rounds.recover([], [place.root / "p" / "one"])
        failing.clear()
        with monkeypatch.context() as patched:
            patched.delattr(recovery, "spools")
            with pytest.raises(AttributeError):
                await daemon.rounds.look()
        assert daemon.given_up == {spool}
        await place.until(daemon, lambda: not spool.exists())
        assert daemon.given_up == set()
        await daemon.close(30)

    asyncio.run(main())


def test_who_waits_for_a_burial_no_longer_does_not_end_it_for_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks of a launch wait for what the one before left, and the first is told that the journal refuses it."""

    async def main() -> None:
        daemon = place.daemon()
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        (pipeline,) = daemon.runs.values()
        dug = asyncio.Event()

        async def bury(*_: object) -> None:
            await dug.wait()

        monkeypatch.setattr(daemon._estate, "_bury", bury)
        first, second, third = (daemon._estate.bury(pipeline, [pipeline.sessions["a"]]) for _ in range(3))
        first.cancel()
        await asyncio.wait({first})
        await asyncio.sleep(0)
        assert not second.done()
        dug.set()
        assert await second == await third == [None]
        await daemon.close(30)

    asyncio.run(main())


def test_a_process_that_is_taken_up_after_the_next_of_its_rank_has_come_does_not_end_that(
    place: Place, failing: set[Path], at_once: None
) -> None:
    """Its ring could not be read when it died."""

    async def main() -> None:
        daemon = place.daemon()
        first, second = (replace(hello(place.root, "one", name), launch="L") for name in ("a", "b"))
        ring = left_ring(place.root / "rings" / "a.ring", first, [*RECORDS, records.encode(records.End("failed"))])
        failing.add(ring)
        await place.say(daemon, replace(first, ring=str(ring)), Welcome)
        run = daemon.runs[place.root / "p" / "one"]
        await place.until(daemon, lambda: not run.live)
        await place.say(daemon, second, Welcome)
        failing.clear()
        await place.until(daemon, lambda: not ring.exists())
        assert run.ledger()["journaled"] == 1
        await place.say(daemon, Batch(0, 1), Ack, END)
        await run.journaled()
        items = [item for _, item in await run._read_items(0, 1 << 20)]
        died, point, end = items
        assert isinstance(point, Points)
        assert (died, end) == (RunEnd("killed"), RunEnd("success")), "the dead one's own END would stand between"
        await daemon.close(30)

    asyncio.run(main())
