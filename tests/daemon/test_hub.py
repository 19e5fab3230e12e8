"""What ranks are told while their run can't be had."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asynclog_proto.frames import Hello, Message, Reset
from asynclogd import claim, hub
from asynclogd.catalog import JOURNAL
from asynclogd.config import Config
from asynclogd.journal import Journal


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
