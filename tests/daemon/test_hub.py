"""What ranks are told while their run can't be had."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from asynclog_proto.frames import Hello, Message, Reset, Welcome
from asynclogd import claim, hub
from asynclogd.catalog import JOURNAL
from asynclogd.config import Config, DaemonSettings
from asynclogd.journal import Journal
from asynclogd.session import Session


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
    monkeypatch.setattr(hub, "WATCH_SECONDS", 0.01)
    fails, find = iter([True] * 5), hub.Hub._orphans

    def orphans(daemon: hub.Hub) -> list[Path]:
        if next(fails, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return find(daemon)

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
        monkeypatch.setattr(hub.Hub, "_orphans", orphans)
        await asyncio.wait_for(dead(daemon.runs[tmp_path / "p" / "run"].sessions["a"]), 30)
        await daemon.close(30)

    asyncio.run(main())
    assert "dead ranks can't be looked for now: [Errno 24]" in caplog.text
