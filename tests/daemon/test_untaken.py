"""What dead ranks and daemons left is taken up as soon as it can be."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import frames, places, records, ringfile, spoolfile
from asynclog_proto.errors import ConfigError, ProtocolError
from asynclog_proto.frames import Ack, Batch, Hello, Message, Welcome
from asynclogd import untaken
from asynclogd.config import Config, DaemonSettings
from asynclogd.hub import Hub
from asynclogd.journal import JournalBusyError
from asynclogd.untaken import BusyError, RunDirError, Untaken, again_after


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BusyError("1 runs are open"), 2.0),
        (JournalBusyError("another daemon"), 2.0),
        (OSError(5, "Input/output error"), 2.0),
        (sqlite3.OperationalError("disk I/O error"), 2.0),
        (RunDirError("permission denied"), 60.0),
        (ProtocolError("no ring"), math.inf),
        (ConfigError("no such backend"), math.inf),
        (AttributeError("a defect"), math.inf),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, seconds: float) -> None:
    assert again_after(error) == seconds


def test_what_is_due_is_told_once() -> None:
    left = Untaken()
    left.add(Path("soon"), 10.0, 2.0)
    left.add(Path("never"), 10.0)
    assert left.take_due(11.9) == []
    assert left.take_due(12.0) == [Path("soon")]
    assert left.take_due(1e9) == []
    assert left.paths == {Path("never")}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass is tried again in the next round."""
    monkeypatch.setattr(untaken, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(untaken, "MENDED_SECONDS", 0.0)


def hello(root: Path, run: str, incarnation: str, **files: str) -> Hello:
    return Hello("p", run, str(root), 0, 1, incarnation, incarnation, 0, 1, "host", backends={}, **files)


RECORDS = [records.encode(records.Layout(0, ("x",))), records.encode(records.Row(0, 7, 0.0, 1.0, (0.5,)))]


def left_ring(root: Path, run: str) -> Path:
    """The ring of a dead rank of a run that no daemon has heard of, with one row."""
    ring = root / "rings" / f"{run}.ring"
    ring.parent.mkdir(exist_ok=True)
    said = bytes(frames.encode(hello(root, run, run, ring=str(ring)))[0])
    data, body = bytearray(ringfile.header(1 << 16, said) + bytes(1 << 16)), b"".join(RECORDS)
    data[ringfile.HEADER : ringfile.HEADER + len(body)] = body
    data[ringfile.HEAD : ringfile.HEAD + 8] = len(body).to_bytes(8, sys.byteorder)
    ring.write_bytes(data)
    return ring


def left_spool(root: Path, run: str, incarnation: str) -> Path:
    """The spool of such a rank."""
    spool = places.spool_dir(root / "p" / run, 1, incarnation)
    spool.mkdir(parents=True)
    said = bytes(frames.encode(hello(root, run, incarnation, spool=str(spool)))[0])
    segment = spoolfile.start(said) + spoolfile.entry(0, len(RECORDS), b"".join(RECORDS))
    (spool / f"00000001{spoolfile.SUFFIX}").write_bytes(segment)
    return spool


class Place:
    """A runtime directory and its daemons, one after the other, whose rounds are made by hand."""

    def __init__(self, root: Path) -> None:
        self.root, self.told = root, asyncio.Queue[Message]()
        (root / "runs").mkdir()

    def daemon(self, **settings: Any) -> Hub:
        return Hub(self.root, Config(daemon=DaemonSettings(**settings)), lambda _, told: self.told.put_nowait(told))

    async def say(self, daemon: Hub, message: Message, kind: type[Message], payload: bytes = b"") -> None:
        daemon.deliver(b"peer", message, memoryview(payload))
        while not isinstance(await asyncio.wait_for(self.told.get(), 30), kind):
            pass

    async def until(self, daemon: Hub, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, f"given up: {daemon.given_up}"
            await daemon.look()
            await asyncio.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.cap("peers")
def test_a_ring_of_a_run_too_many_is_taken_up_once_another_run_is_closed(place: Place, at_once: None) -> None:
    async def main() -> None:
        daemon = place.daemon(max_runs=1)
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        ring = left_ring(place.root, "two")
        await daemon.look()
        assert daemon.given_up == {ring}
        assert not daemon._orphans()
        await daemon._close_run(daemon.runs[place.root / "p" / "one"], 30)
        await place.until(daemon, lambda: not ring.exists())
        assert daemon.runs[place.root / "p" / "two"].ledger()["journaled"] == 1
        assert daemon.given_up == set()
        await daemon.close(30)

    asyncio.run(main())


def test_what_is_given_up_for_a_while_is_not_looked_at_in_each_round(place: Place) -> None:
    async def main() -> None:
        daemon = place.daemon(max_runs=1)
        await place.say(daemon, hello(place.root, "one", "a"), Welcome)
        ring = left_ring(place.root, "two")
        await daemon.look()
        await daemon._close_run(daemon.runs[place.root / "p" / "one"], 30)
        await daemon.look()
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
        await daemon.recover([], [run.run_dir])
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
        await daemon.recover(daemon._orphans(), daemon._left_runs())
        first, other = place.root / "p" / "one", place.root / "p" / "two"
        (opened,) = daemon.runs
        assert opened in (first, other)
        await daemon._close_run(daemon.runs[opened], 30)
        await place.until(daemon, lambda: daemon.runs.keys() == {first, other} - {opened})
        await daemon.close(30)

    asyncio.run(main())


def test_a_ring_whose_runs_directory_could_not_be_made_is_taken_up_once_it_can(place: Place, at_once: None) -> None:
    async def main() -> None:
        daemon = place.daemon()
        in_the_way, ring = place.root / "p", left_ring(place.root, "two")
        in_the_way.touch()
        await daemon.look()
        assert daemon.given_up == {ring}
        in_the_way.unlink()
        await place.until(daemon, lambda: not ring.exists())
        assert daemon.runs[place.root / "p" / "two"].ledger()["journaled"] == 1
        await daemon.close(30)

    asyncio.run(main())
