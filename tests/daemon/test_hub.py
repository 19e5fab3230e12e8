"""What ranks are told while their run can't be had."""

from __future__ import annotations

import asyncio
import errno
import importlib.metadata
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import frames, records, spoolfile
from asynclog_proto.frames import Ack, Batch, Hello, Message, Reset, Welcome
from asynclogd import claim, hub, living, recovery, rounds
from asynclogd.catalog import JOURNAL
from asynclogd.config import Config, DaemonSettings
from asynclogd.journal import Journal
from asynclogd.session import Session
from tests.daemon.test_loading import written

FAULTY = "\nMine.default_rate_limit = property(lambda self: self.nothing)\n"
"""Code that makes a backend of test_loading's one that can't be made."""


def test_a_run_that_another_process_has_open_for_long_is_told_and_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BUSY_SECONDS", 0.0)
    run_dir, told = tmp_path / "p" / "run", asyncio.Queue[Message]()

    async def asked(daemon: hub.Hub) -> Reset:
        hello = Hello("p", "run", str(tmp_path), 0, 1, "incarnation", "launch", 0, 1, "host")
        daemon.deliver(b"peer", hello, memoryview(b""))
        answer = await asyncio.wait_for(told.get(), 30)
        assert isinstance(answer, Reset)
        return answer

    async def main() -> list[str]:
        daemon = hub.Hub(tmp_path, Config(), lambda _, message: told.put_nowait(message))
        (tmp_path / "runs").mkdir()
        run_dir.mkdir(parents=True)
        with Journal.open(run_dir / JOURNAL):
            notices = [(await asked(daemon)).notice for _ in range(2)]
        assert claim.lies(run_dir)
        await daemon.open_run(run_dir)
        assert not claim.lies(run_dir)
        await daemon.close(30)
        return notices

    first, later = asyncio.run(main())
    assert first == "", "it may be a daemon that ends"
    assert "another process has this journal open (a daemon, or asynclog sync, export, replay or show)" in later


def test_a_look_around_that_fails_is_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No file descriptor is left for a moment: a rank that has died is found later."""
    monkeypatch.setattr(rounds, "WATCH_SECONDS", 0.01)
    fails, find = iter([True] * 5), rounds.Rounds.orphans

    def orphans(watch: rounds.Rounds) -> list[Path]:
        if next(fails, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return find(watch)

    async def dead(session: Session) -> None:
        while session.live:  # noqa: ASYNC110 - a death sets no event
            await asyncio.sleep(0.01)

    async def main() -> None:
        told = asyncio.Queue[Message]()
        settings = DaemonSettings(silence_timeout=0.2)
        daemon = hub.Hub(tmp_path, Config(daemon=settings), lambda _, message: told.put_nowait(message))
        (tmp_path / "runs").mkdir()
        await daemon.open()
        daemon.deliver(b"peer", Hello("p", "run", str(tmp_path), 0, 1, "a", "a", 0, 1, "host"), memoryview(b""))
        assert isinstance(await asyncio.wait_for(told.get(), 30), Welcome)
        monkeypatch.setattr(rounds.Rounds, "orphans", orphans)
        await asyncio.wait_for(dead(daemon.runs[tmp_path / "p" / "run"].sessions["a"]), 30)
        await daemon.close(30)

    asyncio.run(main())
    assert "dead ranks can't be looked for now: [Errno 24]" in caplog.text


def test_a_rank_whose_run_meets_a_defect_is_answered_and_welcomed_once_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend of somebody's own that fails where it may not; others go on meanwhile."""
    code, told = tmp_path / "mine.py", asyncio.Queue[Message]()
    where = written(code)
    code.write_text(code.read_text() + FAULTY)

    async def asked(daemon: hub.Hub, run: str, rank: int = 0, backends: dict[str, Any] | None = None) -> Message:
        hello = Hello("p", run, str(tmp_path), rank, 2, f"{run}{rank}", "launch", 0, 1, "host", backends=backends)
        daemon.deliver(hello.incarnation.encode(), hello, memoryview(b""))
        return await asyncio.wait_for(told.get(), 30)

    async def main() -> None:
        daemon = hub.Hub(tmp_path, Config(), lambda _, message: told.put_nowait(message))
        (tmp_path / "runs").mkdir()
        await daemon.open()
        for rank in (0, 1, 0):
            answer = await asked(daemon, "run", rank, {"mine": {"class": where}})
            assert isinstance(answer, Reset)
            assert "AttributeError: 'Mine' object has no attribute 'nothing'" in answer.notice
        assert str(tmp_path / "p" / "run") in daemon.untaken
        assert isinstance(await asked(daemon, "other", backends={}), Welcome)
        written(code)
        assert isinstance(await asked(daemon, "run", 0, {"mine": {"class": where}}), Welcome)
        assert not daemon.untaken
        await daemon.close(30)

    asyncio.run(main())
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]
    assert "rank 0 can't be taken: AttributeError" in caplog.text


def test_a_defect_of_one_runs_backend_does_not_keep_the_daemon_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It worked when the run began, and the next daemon finds other code."""
    code = tmp_path / "mine.py"
    backends = {"csv": {}, "mine": {"class": written(code)}}
    (tmp_path / "runs").mkdir()

    async def served() -> list[str]:
        """The run's backends, for a daemon that a rank has said hello to."""
        told = asyncio.Queue[Message]()
        daemon = hub.Hub(tmp_path, Config(), lambda _, message: told.put_nowait(message))
        await daemon.open()
        hello = Hello("p", "run", str(tmp_path), 0, 1, "a", "launch", 0, 1, "host", backends=backends)
        daemon.deliver(b"peer", hello, memoryview(b""))
        assert isinstance(await asyncio.wait_for(told.get(), 30), Welcome)
        sinks = list(daemon.runs[tmp_path / "p" / "run"].fanout.sinks)
        await daemon.close(30)
        return sinks

    assert asyncio.run(served()) == ["csv", "mine"]
    code.write_text(code.read_text() + FAULTY)
    assert asyncio.run(served()) == ["csv"]
    assert "its backend mine can't be had now: AttributeError" in caplog.text


def test_installed_backends_are_looked_for_once_in_a_daemons_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That reads a file of each installed package, on the event loop."""
    told, looks, look = asyncio.Queue[Message](), [], importlib.metadata.entry_points

    def counted(**chosen: str) -> object:
        looks.append(chosen)
        return look(**chosen)

    async def main() -> None:
        daemon = hub.Hub(tmp_path, Config(), lambda _, message: told.put_nowait(message))
        (tmp_path / "runs").mkdir()
        for run in ("one", "two", "three"):
            wanted: dict[str, Any] = {"csv": {"fsync": False}, "jsonl": {}}
            hello = Hello("p", run, str(tmp_path), 0, 1, run, "launch", 0, 1, "host", backends=wanted)
            daemon.deliver(run.encode(), hello, memoryview(b""))
            while not isinstance(await asyncio.wait_for(told.get(), 30), Welcome):
                pass
        await daemon.close(30)

    monkeypatch.setattr(importlib.metadata, "entry_points", counted)
    asyncio.run(main())
    assert looks == [{"group": "asynclog.backends"}]


def test_files_of_a_stream_that_has_ended_are_looked_for_until_they_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again when it has come again: a ring that somebody removes does not end its process."""
    looks, is_left = [], recovery.is_left
    ring, spool = tmp_path / "rings" / "a.ring", tmp_path / "p" / "run" / "spool" / "0-a"

    def counted(*files: Path | None) -> bool:
        looks.append(files)
        return is_left(*files)

    async def main() -> None:
        told = asyncio.Queue[Message]()
        daemon = hub.Hub(tmp_path, Config(), lambda _, message: told.put_nowait(message))
        (tmp_path / "runs").mkdir()
        hello = Hello("p", "run", str(tmp_path), 0, 1, "a", "a", 0, 1, "host", str(ring), str(spool), backends={})
        for state in ("dead", "ended"):
            daemon.deliver(b"peer", hello, memoryview(b""))
            while not isinstance(await asyncio.wait_for(told.get(), 30), Welcome):
                pass
            if state == "ended":
                daemon.deliver(b"peer", Batch(0, 1), memoryview(records.encode(records.End("success"))))
                while not (isinstance(ack := await asyncio.wait_for(told.get(), 30), Ack) and ack.next_seq == 1):
                    pass
            for _ in range(3):
                await daemon.rounds.look()
                await asyncio.gather(*daemon._estate._burials.values())
            assert daemon.runs[tmp_path / "p" / "run"].sessions["a"].stream.state == state
            assert looks == [(ring, spool)]
            looks.clear()
        await daemon.close(30)

    monkeypatch.setattr(recovery, "is_left", counted)
    asyncio.run(main())


def test_a_rank_without_a_ring_that_spools_is_not_dead_for_being_silent(tmp_path: Path) -> None:
    """It is refused, say, and spools what it logs for as long as it lives. One whose process has gone is dead."""
    spools = [tmp_path / "p" / "run" / "spool" / f"{rank}-{rank}" for rank in range(2)]
    with subprocess.Popen(["true"]) as other:
        other.wait()

    async def main() -> None:
        told = asyncio.Queue[Message]()
        settings = DaemonSettings(silence_timeout=0.01)
        daemon = hub.Hub(tmp_path, Config(daemon=settings), lambda _, message: told.put_nowait(message))
        (tmp_path / "runs").mkdir()
        for rank, pid in enumerate((os.getpid(), other.pid)):
            hello = Hello(
                "p", "run", str(tmp_path), rank, 2, str(rank), "launch", 0, pid, os.uname().nodename,
                spool=str(spools[rank]), backends={},
            )  # fmt: skip
            daemon.deliver(str(rank).encode(), hello, memoryview(b""))
            while not isinstance(await asyncio.wait_for(told.get(), 30), Welcome):
                pass
            spools[rank].mkdir(parents=True)
            (spools[rank] / f"00000001{spoolfile.SUFFIX}").write_bytes(spoolfile.start(bytes(frames.encode(hello)[0])))
        sessions = daemon.runs[tmp_path / "p" / "run"].sessions
        end = time.monotonic() + 30
        while sessions["1"].live and time.monotonic() < end:
            await daemon.rounds.look()
            await asyncio.sleep(0.01)
        assert {name: session.stream.state for name, session in sessions.items()} == {"0": "live", "1": "dead"}
        await daemon.close(30)

    asyncio.run(main())
    assert [spool.exists() for spool in spools] == [True, False]


def test_a_commit_waits_for_the_ranks_that_live_and_for_no_other(tmp_path: Path) -> None:
    told, hour = asyncio.Queue[tuple[bytes, Message]](), 3600.0

    async def until_told(kind: type[Message]) -> bytes:
        while True:
            peer, message = await asyncio.wait_for(told.get(), 30)
            if isinstance(message, kind):
                return peer

    def batch(daemon: hub.Hub, rank: int, number: int) -> None:
        daemon.deliver(b"%d" % rank, Batch(number, 1), memoryview(records.encode(records.Layout(number, ("x",)))))

    async def main() -> None:
        settings = DaemonSettings(commit_interval=hour)
        daemon = hub.Hub(tmp_path, Config(daemon=settings), lambda peer, message: told.put_nowait((peer, message)))
        (tmp_path / "runs").mkdir()
        for rank in range(3):
            hello = Hello("p", "run", str(tmp_path), rank, 3, f"{rank}", "launch", 0, 1, "host")
            daemon.deliver(b"%d" % rank, hello, memoryview(b""))
            await until_told(Welcome)
        (run,) = daemon.runs.values()
        await run.leave([run.sessions["2"]])
        run._commits._began = asyncio.get_running_loop().time() - hour
        batch(daemon, 0, 0)
        batch(daemon, 0, 1)
        assert run._commits._gathering is not None
        assert run._commits._gathered_at > asyncio.get_running_loop().time() + hour - 60, "rank 1 lives"
        batch(daemon, 1, 0)
        assert {await until_told(Ack), await until_told(Ack)} == {b"0", b"1"}
        await daemon.close(30)

    asyncio.run(main())


def test_processes_of_silent_ranks_are_looked_at_beside_the_event_loop_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is slow would hold up every run's rows. One that speaks while it is looked at is not dead."""
    threads: dict[str, int] = {}
    seen: dict[str, int] = {}
    daemon = hub.Hub(tmp_path, Config(daemon=DaemonSettings(silence_timeout=0.01)), lambda *_: None)

    def looked_at(spool: Path | None, host: str, pid: int, sightings: living.Sightings) -> bool:
        del host, pid, sightings
        assert spool is not None
        threads[spool.name] = threading.get_ident()
        if spool.name == "0-two":
            sessions = daemon.runs[tmp_path / "p" / "two"].sessions
            sessions["two"].heard = time.monotonic() + 60
        return False

    async def main() -> None:
        (tmp_path / "runs").mkdir()
        for run in ("one", "two", "three"):
            spool = str(tmp_path / "p" / run / "spool" / f"0-{run}")
            hello = Hello("p", run, str(tmp_path), 0, 1, run, "l", 0, 1, "host", spool=spool, backends={})
            await daemon._hello(hello, run.encode())
        await asyncio.sleep(0.02)
        await daemon.rounds.look()
        seen.update(threads)
        streams = {path.name: run.sessions[path.name].stream for path, run in daemon.runs.items()}
        end = time.monotonic() + 30
        while (streams["one"].state, streams["three"].state) != ("dead", "dead") and time.monotonic() < end:
            await daemon.rounds.look()
            await asyncio.sleep(0.01)
        assert {run: stream.state for run, stream in streams.items()} == {"one": "dead", "two": "live", "three": "dead"}
        await daemon.close(30)

    monkeypatch.setattr(living, "is_written", looked_at)
    asyncio.run(main())
    assert set(seen) == {"0-one", "0-two", "0-three"}
    (thread,) = set(seen.values())
    assert thread != threading.get_ident()
